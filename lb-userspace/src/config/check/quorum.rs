//! `[service.quorum]`

use toml::Spanned;

use super::fields::{Checked, fault, number, one_of, percent};
use crate::{
    config::raw,
    model::{LastResort, NoBackend, Quorum},
};

const FIELD: &str = "service.quorum";

/// What is written in place of [`LastResort`]: to refuse is what the policy does.
#[derive(Clone, Copy, PartialEq)]
enum Word {
    None,
    All,
    Refuse,
}

/// The quorum; a last resort of refusing goes into the policy.
pub(super) fn quorum(
    raw: Option<Spanned<raw::Quorum>>,
    no_backend: &mut NoBackend,
) -> Checked<Quorum> {
    let Some(raw) = raw else { return Ok(Quorum::default()) };
    let raw = raw.into_inner();
    let key = |name: &str| format!("{FIELD}.{name}");
    let words = [("none", Word::None), ("all", Word::All), ("refuse", Word::Refuse)];
    let place = raw.last_resort.clone();
    let word = one_of(raw.last_resort, &key("last_resort"), &words, Word::None)?;
    let threshold = percent(raw.panic_threshold, &key("panic_threshold"), 0, 100, 0)?;
    if let (Word::Refuse, Some(place), 1..) = (word, &place, threshold) {
        let message = "\"refuse\" and a panic_threshold contradict each other: when none is well, \
                       all would get traffic";
        return Err(fault(place, &key("last_resort"), message));
    }
    if word == Word::Refuse {
        *no_backend = NoBackend::Refuse;
    }
    Ok(Quorum {
        least: number(raw.least, &key("least"), 1, 65_535, 1)?,
        hysteresis: number(raw.hysteresis, &key("hysteresis"), 0, 65_535, 0)?,
        panic_threshold: threshold,
        last_resort: if word == Word::All { LastResort::All } else { LastResort::None },
    })
}
