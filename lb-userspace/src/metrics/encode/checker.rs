//! Metrics of what makes the checks.

use std::fmt;

use crate::{health::CheckerCounts, metrics::families::Families};

pub(super) fn encode(to: &mut Families, checker: &CheckerCounts) -> fmt::Result {
    let CheckerCounts { in_flight, not_made, lateness } = checker;
    to.gauge(
        "lb_checks_in_flight",
        "Health checks and questions to agents that wait for an answer.",
        *in_flight,
    )?;
    to.counter(
        "lb_checks_without_descriptor",
        "Health checks that were not made since no file descriptor was free for an interval.",
        *not_made,
    )?;
    to.histogram(
        "lb_check_lateness_seconds",
        "How long after they were due health checks began.",
        (lateness.sum(), &lateness.buckets()),
    )
}
