//! Metrics of backends and their checks.

use std::fmt;

use lb_common::Counters;

use super::number;
use crate::metrics::{
    AgentCounts, AttemptCounts, BACKEND_STATES, BackendReport, CheckMetrics, WatchReport,
    families::Families,
};

pub(super) fn encode(to: &mut Families, backends: &[BackendReport]) -> fmt::Result {
    let traffic = |count: fn(&Counters) -> u64| {
        backends.iter().map(move |backend| (name(backend), count(&backend.counters)))
    };
    to.counters("lb_backend_packets", "Packets sent to the backend.", traffic(|c| c.packets))?;
    to.counters(
        "lb_backend_bytes",
        "Bytes of those packets from the client's IP header on, without tunnel headers.",
        traffic(|c| c.bytes),
    )?;
    to.counters(
        "lb_backend_new_flows",
        "TCP packets that begin a flow, sent to the backend.",
        traffic(|c| c.new_flows),
    )?;
    let states = backends.iter().flat_map(|backend| {
        BACKEND_STATES
            .map(|state| ((name(backend), [("state", state)]), number(state == backend.state)))
    });
    to.gauges("lb_backend_state", "1 for the state that the backend is in.", states)?;
    let weights = backends.iter().flat_map(|backend| {
        [("config", backend.weight_config), ("effective", backend.weight_effective)]
            .map(|(kind, weight)| ((name(backend), [("kind", kind)]), weight))
    });
    to.gauges(
        "lb_backend_weight",
        "The backend's share: as configured, and as it counts at present.",
        weights,
    )?;
    to.counters(
        "lb_backend_state_changes",
        "Changes of the backend's state.",
        backends.iter().map(|backend| (name(backend), backend.state_changes)),
    )?;
    to.gauges(
        "lb_backend_last_change_timestamp_seconds",
        "When the backend's state last changed, since 1970.",
        backends.iter().filter_map(|backend| Some((name(backend), backend.last_change?))),
    )
}

pub(super) fn encode_checks(to: &mut Families, backends: &[BackendReport]) -> fmt::Result {
    let checked =
        || backends.iter().filter_map(|backend| Some((name(backend), backend.checks.as_ref()?)));
    let attempts = checked().flat_map(|(name, checks)| {
        let CheckMetrics { passed, failed, not_made, .. } = checks;
        [("passed", *passed), ("failed", *failed), ("not_made", *not_made)]
            .map(|(result, count)| ((name, [("result", result)]), count))
    });
    to.counters(
        "lb_check_attempts",
        "Health checks by result. Those that this machine could not make count for nothing.",
        attempts,
    )?;
    to.check_durations(
        "lb_check_duration_seconds",
        "How long health checks took that passed.",
        checked(),
    )
}

pub(super) fn encode_agents(to: &mut Families, backends: &[BackendReport]) -> fmt::Result {
    let asked = backends.iter().filter_map(|backend| Some((name(backend), backend.agent?)));
    let attempts = asked.flat_map(|(name, AgentCounts { heard, failed })| {
        [("heard", heard), ("failed", failed)]
            .map(|(result, count)| ((name, [("result", result)]), count))
    });
    to.counters("lb_agent_attempts", "Questions to the backend's agent by result.", attempts)
}

/// What is seen of backends of services that have it looked at.
pub(super) fn encode_watch(to: &mut Families, backends: &[BackendReport]) -> fmt::Result {
    let watched = || backends.iter().filter_map(|backend| Some((name(backend), backend.watch?)));
    to.gauges(
        "lb_backend_suspect",
        "Whether something speaks against the backend, by its traffic or the course of its checks.",
        watched().map(|(name, watch)| (name, number(watch.suspect))),
    )?;
    to.counters(
        "lb_backend_ejections",
        "How often the backend was ejected.",
        watched().map(|(name, watch)| (name, watch.ejections)),
    )?;
    let attempts = |pick: fn(&AttemptCounts) -> u64| {
        watched().flat_map(move |(name, WatchReport { checks, traffic, .. })| {
            [("checks", checks), ("traffic", traffic)]
                .map(|(source, counts)| ((name, [("source", source)]), pick(&counts)))
        })
    };
    to.counters(
        "lb_backend_attempts",
        "Attempts that outliers are found by: checks, and clients that connect.",
        attempts(|counts| counts.attempts),
    )?;
    to.counters(
        "lb_backend_failed_attempts",
        "Those of them that failed.",
        attempts(|counts| counts.failed),
    )
}

/// What names a backend.
fn name(backend: &BackendReport) -> [(&'static str, &str); 2] {
    [("service", &backend.service), ("backend", &backend.address)]
}
