//! How a service's backends are checked.

use std::{net::IpAddr, time::Duration};

use super::Probe;

/// A checked health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked of the backend.
    pub probe: Probe,
    /// Port on the backend; 0 for probes that need none.
    pub port: u16,
    /// Whether the configuration names that port. Otherwise it is the service's, in whose place a
    /// backend with a port of its own is asked at that.
    pub is_port_named: bool,
    /// Address that is asked in place of the backend's own.
    pub address: Option<IpAddr>,
    /// Address of this machine that is asked from; `None` lets routes decide.
    pub source: Option<IpAddr>,
    /// Which way the probe takes.
    pub via: CheckVia,
    /// Time from one check's start to the next one's.
    pub interval: Duration,
    /// The same while results contradict the judgement; at most `interval`.
    pub fast_interval: Duration,
    /// The same while the backend is down.
    pub down_interval: Duration,
    /// Longest time that an answer may take; at most the shortest interval.
    pub timeout: Duration,
    /// By how much of itself, in percent, each interval may be longer or shorter; 0 to 50.
    pub jitter: u8,
    /// Checks in a row that must pass before a backend that was down is up.
    pub rise: u32,
    /// Checks in a row that must fail before a backend that was up is down.
    pub fall: u32,
    /// What a backend is taken for before it was checked.
    pub initial: InitialState,
}

/// What it takes to go down and to come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Checks in a row that must pass before a backend that was down is up.
    pub rise: u32,
    /// Checks in a row that must fail before a backend that was up is down.
    pub fall: u32,
    /// What a backend is taken for before it was checked.
    pub initial: InitialState,
}

impl HealthCheck {
    /// What it takes to go down and to come up.
    #[must_use]
    pub const fn thresholds(&self) -> Thresholds {
        Thresholds { rise: self.rise, fall: self.fall, initial: self.initial }
    }

    /// Interval where the configuration says nothing.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
    /// Time-out where the configuration says nothing.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// Rise where the configuration says nothing.
    pub const DEFAULT_RISE: u32 = 2;
    /// Fall where the configuration says nothing.
    pub const DEFAULT_FALL: u32 = 3;

    /// A check of this kind, all else as where the configuration says nothing.
    #[must_use]
    pub const fn new(probe: Probe, port: u16) -> Self {
        Self {
            probe,
            port,
            is_port_named: false,
            address: None,
            source: None,
            via: CheckVia::Direct,
            interval: Self::DEFAULT_INTERVAL,
            fast_interval: Self::DEFAULT_INTERVAL,
            down_interval: Self::DEFAULT_INTERVAL,
            timeout: Self::DEFAULT_TIMEOUT,
            jitter: 0,
            rise: Self::DEFAULT_RISE,
            fall: Self::DEFAULT_FALL,
            initial: InitialState::FirstCheck,
        }
    }
}

/// Which way a probe takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckVia {
    /// To the backend's own address, as any packet of this machine.
    Direct,
    /// As clients' packets: through the tunnel to the service's address on that backend.
    Tunnel,
}

/// What a backend is taken for before it was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitialState {
    /// Nothing: it waits for its first check, which decides alone.
    FirstCheck,
    /// It takes flows at once, and goes down after `fall` failures.
    Up,
    /// It takes none before `rise` checks have passed.
    Down,
}

/// How a backend's agent is asked what it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCheck {
    /// Port of the agent.
    pub port: u16,
    /// Address of the agent in place of the backend's own.
    pub address: Option<IpAddr>,
    /// What it is sent before its answer is read.
    pub send: Vec<u8>,
    /// Time from one question to the next.
    pub interval: Duration,
    /// Longest time that an answer may take; at most `interval`.
    pub timeout: Duration,
}
