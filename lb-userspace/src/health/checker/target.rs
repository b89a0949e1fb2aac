//! What is checked, and what comes of it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_common::Forward;

use crate::{
    health::{AgentWord, CheckFailure, WeightAdvice},
    model::{AgentCheck, BackendName, HealthCheck},
};

/// A backend to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which one. Of several targets for one backend the first counts.
    pub backend: BackendName,
    /// Comes back with each result, so that those of a former backend of this name can be told.
    pub generation: u64,
    /// How.
    pub check: HealthCheck,
    /// What the check connects to: the backend, or the service's address where it takes a tunnel.
    pub destination: SocketAddr,
    /// The tunnel that the check takes.
    pub tunnel: Option<TunnelTo>,
}

/// A backend whose agent is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTarget {
    /// Which one.
    pub backend: BackendName,
    /// Comes back with each result.
    pub generation: u64,
    /// How.
    pub agent: AgentCheck,
    /// Where the agent listens.
    pub destination: SocketAddr,
}

/// A tunnel to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelTo {
    /// Where it ends.
    pub backend: IpAddr,
    /// Which kind.
    pub forward: Forward,
}

/// How often a target is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Each `interval`.
    #[default]
    Normal,
    /// Each `fast_interval`: results contradict the judgement.
    Fast,
    /// Each `down_interval`.
    Down,
}

/// What an agent said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentResult {
    /// Whose it is.
    pub backend: BackendName,
    /// Generation of its target.
    pub generation: u64,
    /// What it said, or why nothing was heard.
    pub word: Result<AgentWord, CheckFailure>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Which backend was checked.
    pub backend: BackendName,
    /// Generation of its target.
    pub generation: u64,
    /// How long the answer took, or why the check did not pass.
    pub outcome: Result<Duration, CheckFailure>,
    /// The weight that a check that passed asks for.
    pub weight: Option<WeightAdvice>,
}
