//! What the daemon does when something happens: runs a program, or calls a webhook.

use std::{collections::BTreeSet, fmt, path::PathBuf, time::Duration};

use hyper::Uri;

use super::ServiceName;
use crate::event::{Event, EventKind};

/// A checked hook.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// Its name, unique: as a service's.
    pub name: String,
    /// Kinds of events that it is for, at least one, never [`EventKind::Hook`].
    pub on: BTreeSet<EventKind>,
    /// What they must lead to; empty takes all.
    pub to: BTreeSet<String>,
    /// Services that it is for; empty takes all, and events of no service.
    pub services: BTreeSet<ServiceName>,
    /// What is done.
    pub action: HookAction,
    /// How long a program may run, or an attempt to call may take.
    pub timeout: Duration,
    /// Runs that may begin within a minute, at least 1.
    pub max_per_minute: u32,
    /// Runs at a time, at least 1.
    pub max_running: u32,
}

/// What a hook does.
#[derive(Clone, PartialEq, Eq)]
pub enum HookAction {
    /// Runs a program.
    Command {
        /// Absolute path.
        program: PathBuf,
        /// What it is given.
        arguments: Vec<String>,
    },
    /// Posts the event.
    Url {
        /// Where: `http` or `https`, with a host.
        url: Uri,
        /// Further attempts after one that failed for a reason that may pass.
        retries: u32,
    },
}

impl Hook {
    /// How long it may take where the configuration says nothing.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// Runs a minute where the configuration says nothing.
    pub const DEFAULT_PER_MINUTE: u32 = 30;
    /// Runs at a time where the configuration says nothing.
    pub const DEFAULT_RUNNING: u32 = 4;

    /// Whether it is for what the event happened to, whatever it led to.
    #[must_use]
    pub fn concerns(&self, event: &Event) -> bool {
        let is_its = |service: &ServiceName| self.services.contains(service);
        event.kind != EventKind::Hook
            && self.on.contains(&event.kind)
            && (self.services.is_empty() || event.service.as_ref().is_some_and(is_its))
    }

    /// Whether it also is for what the event led to.
    #[must_use]
    pub fn wants(&self, event: &Event) -> bool {
        self.concerns(event) && (self.to.is_empty() || self.to.contains(event.now()))
    }
}

/// Arguments and addresses may hold secrets.
impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("name", &self.name)
            .field("on", &self.on)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_for_kinds_ends_and_services() {
        let hook = Hook {
            name: "restart".to_owned(),
            on: [EventKind::BackendState, EventKind::Hook].into(),
            to: ["down".to_owned()].into(),
            services: ["web".parse().expect("a name")].into(),
            action: HookAction::Command { program: "/bin/true".into(), arguments: vec![] },
            timeout: Hook::DEFAULT_TIMEOUT,
            max_per_minute: 1,
            max_running: 1,
        };
        let event = |kind, service: Option<&str>, to: &str| Event {
            kind,
            service: service.map(|name| name.parse().expect("a name")),
            backend: None,
            from: None,
            to: Some(to.to_owned()),
            reason: String::new(),
        };
        let state = EventKind::BackendState;
        assert!(hook.wants(&event(state, Some("web"), "down")));
        let back = event(state, Some("web"), "up");
        assert!(hook.concerns(&back) && !hook.wants(&back));
        assert!(!hook.concerns(&event(state, Some("dns"), "down")));
        assert!(!hook.concerns(&event(state, None, "down")));
        assert!(!hook.concerns(&event(EventKind::Panic, Some("web"), "down")));
        // Its own runs would call it for ever.
        assert!(!hook.concerns(&event(EventKind::Hook, Some("web"), "down")));
        let all = Hook { services: BTreeSet::new(), to: BTreeSet::new(), ..hook };
        assert!(all.wants(&event(state, None, "up")));
        let gone = Event { to: None, ..event(state, None, "") };
        let on_removal = Hook { to: ["none".to_owned()].into(), ..all };
        assert!(on_removal.wants(&gone) && !on_removal.wants(&event(state, None, "up")));
    }
}
