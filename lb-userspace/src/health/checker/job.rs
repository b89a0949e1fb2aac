//! What a target is to the tasks that check it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
};

use super::{AgentResult, AgentTarget, CheckResult, Target, TunnelTo, rhythm::Rhythm};
use crate::{
    health::{
        AgentWord, CheckFailure, Endpoint, Tunnels,
        probe::{self, Found, Pinger},
    },
    model::{BackendName, HealthCheck, Probe},
};

/// What all that ask share.
#[derive(Debug)]
pub(super) struct Means {
    /// Ways through tunnels.
    pub(super) tunnels: RwLock<Option<Arc<dyn Tunnels>>>,
    /// Sockets for pings.
    pub(super) pinger: Pinger,
}

impl Means {
    fn tunnels(&self) -> Option<Arc<dyn Tunnels>> {
        self.tunnels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_tunnels(&self, tunnels: Option<Arc<dyn Tunnels>>) {
        *self.tunnels.write().unwrap_or_else(PoisonError::into_inner) = tunnels;
    }
}

/// Something that is asked again and again.
pub(super) trait Job: Clone + PartialEq + Send + Sync + 'static {
    /// What comes of it.
    type Result: Send + 'static;

    /// Whom it is about.
    fn backend(&self) -> &BackendName;

    /// When it is asked.
    fn rhythm(&self) -> Rhythm;

    /// File descriptors that it holds while it waits for an answer.
    fn descriptors(&self) -> u32;

    /// Asks once.
    fn ask(&self, means: &Means) -> impl Future<Output = Self::Result> + Send;

    /// The result of not having been able to ask.
    fn not_asked(&self, why: CheckFailure) -> Self::Result;
}

impl Job for Target {
    type Result = CheckResult;

    fn backend(&self) -> &BackendName {
        &self.backend
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::of_check(&self.backend, &self.check)
    }

    fn descriptors(&self) -> u32 {
        match self.check.probe {
            // They share theirs.
            Probe::Icmp => 0,
            // Two pipes, and two that tell of the end: ours and the runtime's.
            Probe::Exec(_) => 4,
            _ => 1,
        }
    }

    async fn ask(&self, means: &Means) -> CheckResult {
        match self.endpoint(means.tunnels().as_deref()) {
            Ok(endpoint) => {
                let asking = probe::run(&endpoint, &self.check, &self.backend, &means.pinger);
                self.result(asking.await)
            }
            Err(error) => self.not_asked(CheckFailure::Impossible(format!("no tunnel: {error}"))),
        }
    }

    fn not_asked(&self, why: CheckFailure) -> CheckResult {
        self.result(Found { outcome: Err(why), weight: None })
    }
}

impl Target {
    /// Without tunnels, what a tunnel would lead to is asked at the backend's own address.
    fn endpoint(&self, tunnels: Option<&dyn Tunnels>) -> io::Result<Endpoint> {
        let HealthCheck { source, .. } = self.check;
        let direct = |remote| Endpoint { remote, source, steer: None };
        Ok(match (self.tunnel, tunnels) {
            (None, _) => direct(self.destination),
            (Some(TunnelTo { backend, .. }), None) => {
                direct(SocketAddr::new(backend, self.destination.port()))
            }
            (Some(TunnelTo { backend, forward }), Some(tunnels)) => {
                let (source, steer) = tunnels.to(backend, forward, self.destination.ip())?;
                Endpoint { remote: self.destination, source: Some(source), steer: Some(steer) }
            }
        })
    }

    fn result(&self, Found { outcome, weight }: Found) -> CheckResult {
        let Self { backend, generation, .. } = self;
        CheckResult { backend: backend.clone(), generation: *generation, outcome, weight }
    }
}

impl Job for AgentTarget {
    type Result = AgentResult;

    fn backend(&self) -> &BackendName {
        &self.backend
    }

    fn rhythm(&self) -> Rhythm {
        Rhythm::of_agent(&self.backend, &self.agent)
    }

    fn descriptors(&self) -> u32 {
        1
    }

    async fn ask(&self, _means: &Means) -> AgentResult {
        let endpoint = Endpoint { remote: self.destination, source: None, steer: None };
        self.result(probe::agent::ask(&endpoint, &self.agent).await)
    }

    fn not_asked(&self, why: CheckFailure) -> AgentResult {
        self.result(Err(why))
    }
}

impl AgentTarget {
    fn result(&self, word: Result<AgentWord, CheckFailure>) -> AgentResult {
        AgentResult { backend: self.backend.clone(), generation: self.generation, word }
    }
}

#[cfg(test)]
mod tests;
