//! How a service's backends are checked.

use std::time::Duration;

/// A checked health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked of the backend.
    pub kind: CheckKind,
    /// Port on the backend.
    pub port: u16,
    /// Time from one check's start to the next one's.
    pub interval: Duration,
    /// Longest time that an answer may take; at most `interval`.
    pub timeout: Duration,
    /// Checks in a row that must pass before a backend that was down is up.
    pub rise: u32,
    /// Checks in a row that must fail before a backend that was up is down.
    pub fall: u32,
}

impl HealthCheck {
    /// Interval where the configuration says nothing.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
    /// Time-out where the configuration says nothing.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// Rise where the configuration says nothing.
    pub const DEFAULT_RISE: u32 = 2;
    /// Fall where the configuration says nothing.
    pub const DEFAULT_FALL: u32 = 3;
}

/// What is asked of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// That it accepts a TCP connection.
    Tcp,
}
