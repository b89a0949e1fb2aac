//! Active checks: asking backends whether they work, and judging their answers.

mod checker;
mod failure;
mod rise_fall;
mod tcp;

pub use checker::{CheckResult, Checker, Target};
pub use failure::CheckFailure;
pub use rise_fall::{Health, HealthState, Transition};
