//! Metrics of events and hooks.

use std::fmt;

use crate::{event::EventKind, hooks::HookCounts, metrics::families::Families};

pub(super) fn encode(to: &mut Families, events: &[(EventKind, u64)]) -> fmt::Result {
    to.counters(
        "lb_events",
        "Events by kind.",
        events.iter().map(|(kind, count)| ([("kind", kind.name())], *count)),
    )
}

pub(super) fn encode_hooks(to: &mut Families, hooks: &[HookCounts]) -> fmt::Result {
    let runs = hooks.iter().flat_map(|hook| {
        let name = hook.hook.as_str();
        hook.results().map(|(result, count)| ([("hook", name), ("result", result)], count))
    });
    to.counters("lb_hook_runs", "Events that a hook is for, by what became of its run.", runs)?;
    to.histograms(
        "lb_hook_duration_seconds",
        "How long the hook's runs took.",
        hooks.iter().map(|hook| ([("hook", hook.hook.as_str())], hook.durations())),
    )
}
