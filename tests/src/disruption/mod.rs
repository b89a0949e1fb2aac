//! The disruption tool: connections that must not break while everything around them changes.
//!
//! A [`Scenario`] is a text file: how large the network is, what happens to it when, and what may
//! come of it. [`run`] builds the network, has [`Traffic`] hold its connections and flows through
//! the balancers, does what the scenario says, and returns a [`Verdict`]. [`random`] draws
//! scenarios from a seed.
//!
//! `docs/disruption.md` is the guide, with the grammar of scenarios.

mod actor;
mod balancer;
mod config;
mod echo;
mod flood;
mod footprint;
mod network;
mod runner;
mod strangers;
mod traffic;
mod verdict;

pub mod message;
pub mod random;
pub mod report;
pub mod scenario;

pub use echo::CHECK_PORT;
pub use footprint::Footprint;
pub use runner::{After, Progress, run};
pub use scenario::{Scenario, Size};
pub use traffic::Traffic;
pub use verdict::Verdict;
