//! Active checks: asking backends whether they work, and judging their answers.

mod advice;
mod checker;
mod endpoint;
mod failure;
mod probe;
mod rise_fall;
mod tunnel;

pub use advice::{AgentState, AgentWord, WeightAdvice};
pub use checker::{
    AgentResult, AgentTarget, CheckResult, Checker, CheckerCounts, Lateness, Pace, Target, TunnelTo,
};
pub use endpoint::{CheckFlow, Endpoint, Steer, Tunnels};
pub use failure::{CheckFailure, PASSED, Step};
pub use probe::Found;
pub(crate) use probe::{Stream, bare_host, trusting_this_machine};
pub use rise_fall::{Health, HealthState, Transition};
pub use tunnel::{TunnelCounts, TunnelError, TunnelPath};
