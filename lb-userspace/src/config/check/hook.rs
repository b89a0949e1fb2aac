//! `[[hook]]`

use std::{collections::BTreeSet, path::Path};

use hyper::Uri;
use serde::{
    Deserialize as _,
    de::value::{Error, StrDeserializer},
};
use toml::Spanned;

use super::fields::{Checked, duration, fault, number};
use crate::{
    config::raw,
    control::State,
    event::EventKind,
    model::{Hook, HookAction, Service, ServiceName},
};

/// Checks hooks, whose names are unique, against the services of the configuration.
pub(super) fn hooks(raw: Vec<raw::Hook>, services: &[Service]) -> Checked<Vec<Hook>> {
    let mut hooks: Vec<Hook> = Vec::with_capacity(raw.len());
    for raw in raw {
        let name = raw.name.clone();
        let hook = hook(raw, services)?;
        if hooks.iter().any(|other| other.name == hook.name) {
            return Err(fault(&name, "hook.name", "another hook has this name"));
        }
        hooks.push(hook);
    }
    Ok(hooks)
}

fn hook(raw: raw::Hook, services: &[Service]) -> Checked<Hook> {
    let action = action(&raw)?;
    let timeout_at = raw.timeout.clone();
    let timeout = duration(raw.timeout, "hook.timeout", Hook::DEFAULT_TIMEOUT)?;
    if let Some(at) = timeout_at.filter(|_| timeout.is_zero()) {
        return Err(fault(&at, "hook.timeout", "must be more than nothing"));
    }
    let on = kinds(raw.on)?;
    Ok(Hook {
        name: name(&raw.name)?,
        to: ends(raw.to.unwrap_or_default(), &on)?,
        on,
        services: named(raw.services.unwrap_or_default(), services)?,
        action,
        timeout,
        max_per_minute: number(
            raw.max_per_minute,
            "hook.max_per_minute",
            1,
            10_000,
            Hook::DEFAULT_PER_MINUTE,
        )?,
        max_running: number(raw.max_running, "hook.max_running", 1, 100, Hook::DEFAULT_RUNNING)?,
    })
}

fn name(raw: &Spanned<String>) -> Checked<String> {
    let name: Result<ServiceName, _> = raw.get_ref().parse();
    name.map(String::from).map_err(|_| {
        let message = "must be 1 to 63 letters, digits, dots, hyphens and underscores";
        fault(raw, "hook.name", message)
    })
}

fn kinds(raw: Spanned<Vec<Spanned<String>>>) -> Checked<BTreeSet<EventKind>> {
    let field = "hook.on";
    if raw.get_ref().is_empty() {
        return Err(fault(&raw, field, "name at least one kind of event"));
    }
    let kind = |text: Spanned<String>| {
        let word = text.get_ref();
        match EventKind::ALL.into_iter().find(|kind| kind.name() == word) {
            Some(EventKind::Hook) => {
                Err(fault(&text, field, "hooks do not follow from hooks: that would have no end"))
            }
            Some(kind) => Ok(kind),
            None => {
                let kinds = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Hook);
                let words: Vec<_> = kinds.map(EventKind::name).collect();
                let message = format!("`{word}` is not one of {}", words.join(", "));
                Err(fault(&text, field, message))
            }
        }
    };
    raw.into_inner().into_iter().map(kind).collect()
}

/// A word that no event can lead to would make a hook that never runs.
fn ends(raw: Vec<Spanned<String>>, on: &BTreeSet<EventKind>) -> Checked<BTreeSet<String>> {
    let end = |text: Spanned<String>| {
        let word = text.get_ref().as_str();
        if on.iter().any(|kind| may_lead_to(*kind, word)) {
            return Ok(text.into_inner());
        }
        let kinds: Vec<_> = on.iter().map(|kind| kind.name()).collect();
        let message = format!("`{word}` is nothing that {} leads to", kinds.join(" or "));
        Err(fault(&text, "hook.to", message))
    };
    raw.into_iter().map(end).collect()
}

fn may_lead_to(kind: EventKind, word: &str) -> bool {
    match (kind, kind.words()) {
        (EventKind::BackendState, _) => {
            let state: Result<State, Error> = State::deserialize(StrDeserializer::new(word));
            word == "none" || state.is_ok()
        }
        (_, Some(words)) => words.contains(&word),
        // Numbers, above all.
        (_, None) => true,
    }
}

fn named(raw: Vec<Spanned<String>>, services: &[Service]) -> Checked<BTreeSet<ServiceName>> {
    let name = |text: Spanned<String>| {
        let known = services.iter().find(|service| service.name.to_string() == *text.get_ref());
        known.map(|service| service.name.clone()).ok_or_else(|| {
            let message = format!("there is no service `{}` in this file", text.get_ref());
            fault(&text, "hook.services", message)
        })
    };
    raw.into_iter().map(name).collect()
}

fn action(raw: &raw::Hook) -> Checked<HookAction> {
    match (&raw.command, &raw.url) {
        (Some(words), None) => {
            if let Some(retries) = &raw.retries {
                let message = "is for `url`: a program can try again itself";
                return Err(fault(retries, "hook.retries", message));
            }
            command(words)
        }
        (None, Some(text)) => {
            let retries = number(raw.retries.clone(), "hook.retries", 0, 5, 0)?;
            Ok(HookAction::Url { url: url(text)?, retries })
        }
        _ => Err(fault(&raw.name, "hook", "needs either `command` or `url`")),
    }
}

fn command(words: &Spanned<Vec<Spanned<String>>>) -> Checked<HookAction> {
    let field = "hook.command";
    let [program, arguments @ ..] = words.get_ref().as_slice() else {
        return Err(fault(words, field, "name a program"));
    };
    if !Path::new(program.get_ref()).is_absolute() {
        return Err(fault(program, field, "the program must be an absolute path"));
    }
    if let Some(word) = words.get_ref().iter().find(|word| word.get_ref().contains('\0')) {
        return Err(fault(word, field, "must not have a zero character in it"));
    }
    Ok(HookAction::Command {
        program: program.get_ref().into(),
        arguments: arguments.iter().map(|word| word.get_ref().clone()).collect(),
    })
}

fn url(text: &Spanned<String>) -> Checked<Uri> {
    let wrong = |message| fault(text, "hook.url", message);
    let url: Uri = text.get_ref().parse().map_err(|_| wrong("is not a URL"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(wrong("must start with http:// or https://"));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(wrong("names no host"));
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("must not have a user in it: it would not be sent"));
    }
    Ok(url)
}
