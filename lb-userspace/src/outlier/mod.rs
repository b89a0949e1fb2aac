//! Backends that do worse than the others, or than they did before. Pure: no clock, no I/O.
//!
//! Once a period, about a second, [`Outliers`] takes in what was seen of a service's backends.
//! Detectors look at it, each for itself: [`rules`] with fixed limits, [`stream`] for a change
//! against a backend's own past, [`learned`] for what is unusual at this hour. What they find is
//! judged by one policy, which ejects backends for a time, or lowers their weights, and never takes
//! out more than its share.

mod alarm;
mod detector;
mod ejections;
mod figures;
mod judgement;
pub mod learned;
mod observation;
pub mod rules;
mod steps;
pub mod stream;
#[cfg(test)]
mod tests;

pub use detector::{Detector, Finding, Verdict};
pub use ejections::Ejection;
pub use judgement::{Happening, Outliers, Suspicion};
pub use observation::{Observation, Period, Tally};
