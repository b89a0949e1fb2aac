//! Runs the checks: a task for each target.
//!
//! A sleeping task costs a timer and about a kilobyte, and nothing while it sleeps; what thousands of
//! checks cost is their connections. `cargo xtask bench checks` measures it.

mod guard;
mod job;
mod leave;
mod meter;
mod permits;
mod rhythm;
mod target;
mod tasks;

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};

use super::{Tunnels, probe::Pinger};
use crate::model::BackendName;
use job::Means;
use meter::Meter;
use permits::Permits;
use tasks::{Common, Tasks};

pub use meter::{CheckerCounts, Lateness};
pub use target::{AgentResult, AgentTarget, CheckResult, Pace, Target, TunnelTo};

/// Runs the checks. They end with it.
#[derive(Debug)]
pub struct Checker {
    checks: Tasks<Target>,
    agents: Tasks<AgentTarget>,
    means: Arc<Means>,
    meter: Arc<Meter>,
}

impl Checker {
    /// Checks nothing yet. Raises this process' limit of open file descriptors as far as it may,
    /// and never holds more than that leaves.
    #[must_use]
    pub fn new(results: mpsc::Sender<CheckResult>, agents: mpsc::Sender<AgentResult>) -> Self {
        let meter = Arc::new(Meter::default());
        let permits = Permits::of_process();
        let means = Arc::new(Means { tunnels: None.into(), pinger: Pinger::default() });
        let common = Common {
            means: Arc::clone(&means),
            permits,
            meter: Arc::clone(&meter),
            epoch: Instant::now(),
        };
        Self {
            checks: Tasks::new(common.clone(), results),
            agents: Tasks::new(common, agents),
            means,
            meter,
        }
    }

    /// Has checks take these tunnels from now on. Without any, those that should take one go straight
    /// to their backends.
    pub fn set_tunnels(&self, tunnels: Option<Arc<dyn Tunnels>>) {
        self.means.set_tunnels(tunnels);
    }

    /// Starts what is new, stops what is gone, and leaves equal targets alone, so that they keep
    /// their rhythm and their pace. What was stopped sends no further result; one that waits in the
    /// channel already carries its old generation. Must be called in a runtime.
    pub fn reconcile(&mut self, targets: Vec<Target>) {
        self.checks.reconcile(targets);
    }

    /// The same for the agents to ask.
    pub fn reconcile_agents(&mut self, targets: Vec<AgentTarget>) {
        self.agents.reconcile(targets);
    }

    /// Has a backend checked at another pace, from its last check on. A target begins at
    /// [`Pace::Normal`]; where a backend is not checked, this does nothing.
    pub fn set_pace(&self, backend: &BackendName, pace: Pace) {
        self.checks.set_pace(backend, pace);
    }

    /// How it keeps up.
    #[must_use]
    pub fn counts(&self) -> CheckerCounts {
        self.meter.read()
    }
}

#[cfg(test)]
mod tests;
