//! How many backends a service asks for.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// How a service's load becomes a number of backends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// What is taken for its load.
    pub measure: Measure,
    /// What one backend of weight 100 carries, in units of the measure; more than 0.
    pub per_backend: f64,
    /// Percent of that at which backends are to run, 1 to 100.
    pub target: u8,
    /// Fewest backends that are asked for.
    pub min: u32,
    /// Most backends that are asked for, at least `min`.
    pub max: u32,
    /// How far ahead the load is foretold.
    pub horizon: Duration,
    /// For how long fewer must do before fewer are asked for.
    pub cooldown: Duration,
    /// Percent by which the load may miss what the number is made for before it changes, 0 to 50.
    pub tolerance: u8,
}

impl Scaling {
    /// Percent of its capacity at which a backend runs where the configuration says nothing.
    pub const DEFAULT_TARGET: u8 = 80;
    /// Fewest backends where the configuration says nothing.
    pub const DEFAULT_MIN: u32 = 1;
    /// Most backends where the configuration says nothing.
    pub const DEFAULT_MAX: u32 = 1000;
    /// Horizon where the configuration says nothing.
    pub const DEFAULT_HORIZON: Duration = Duration::from_secs(5 * 60);
    /// Cool-down where the configuration says nothing.
    pub const DEFAULT_COOLDOWN: Duration = Duration::from_secs(10 * 60);
    /// Tolerance where the configuration says nothing.
    pub const DEFAULT_TOLERANCE: u8 = 10;

    /// The load at which one backend of weight 100 is to run.
    #[must_use]
    pub fn wanted_load(&self) -> f64 {
        self.per_backend * f64::from(self.target) / 100.0
    }
}

/// What is taken for a service's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// TCP flows that begin, a second.
    NewFlows,
    /// Packets from clients, a second.
    Packets,
    /// Bytes from clients, a second.
    Bytes,
    /// Flows in progress.
    Flows,
}

impl Measure {
    /// Every one with its word.
    pub const NAMES: [(&str, Self); 4] = [
        ("new_flows", Self::NewFlows),
        ("packets", Self::Packets),
        ("bytes", Self::Bytes),
        ("flows", Self::Flows),
    ];
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NewFlows => "new flows/s",
            Self::Packets => "packets/s",
            Self::Bytes => "bytes/s",
            Self::Flows => "flows",
        })
    }
}
