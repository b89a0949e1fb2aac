//! What was seen of backends in a period.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

/// Attempts, and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All attempts.
    pub attempts: u32,
    /// Those that failed. More than all count as all.
    pub failures: u32,
}

impl Tally {
    /// The same with no more failures than attempts.
    ///
    /// An attempt may be seen in one period and its failure in the next.
    #[must_use]
    pub fn clamped(self) -> Self {
        Self { failures: self.failures.min(self.attempts), ..self }
    }
}

/// What was seen of one backend in one period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Active checks that ended.
    pub checks: Tally,
    /// How long a check took that passed; `None` if none did.
    pub check_latency: Option<Duration>,
    /// Clients' attempts to connect, and those that failed: a SYN without SYN-ACK, a RST in answer
    /// to a SYN, ICMP unreachable.
    pub traffic: Tally,
    /// Mean time from SYN to SYN-ACK; `None` where answers do not pass here.
    pub handshake: Option<Duration>,
}

impl Observation {
    /// Attempts of this kind.
    pub(super) fn tally(&self, source: Source) -> Tally {
        match source {
            Source::Checks => self.checks.clamped(),
            Source::Traffic => self.traffic.clamped(),
        }
    }

    /// Latency of this kind, in seconds, from a microsecond to an hour.
    pub(super) fn latency(&self, source: Source) -> Option<f64> {
        let latency = match source {
            Source::Checks => self.check_latency,
            Source::Traffic => self.handshake,
        };
        latency.map(|latency| latency.as_secs_f64().clamp(1e-6, 3600.0))
    }
}

/// What was seen of all backends of a service in one period.
#[derive(Clone, Copy, Debug)]
pub struct Period<'a> {
    /// When it ended, in milliseconds of a clock that only goes forward.
    pub now: u64,
    /// Hours since the week began, 0 to 167.
    pub hour_of_week: u8,
    /// What was seen.
    pub backends: &'a BTreeMap<IpAddr, Observation>,
}

/// Where attempts and latencies come from. They are never mixed: a check asks for something else
/// than a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Checks,
    Traffic,
}

impl Source {
    pub(super) const ALL: [Self; 2] = [Self::Checks, Self::Traffic];

    /// The word for attempts.
    pub(super) const fn attempts(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Traffic => "connection attempts",
        }
    }

    /// The words before a latency.
    pub(super) const fn take(self) -> &'static str {
        match self {
            Self::Checks => "checks take",
            Self::Traffic => "handshakes take",
        }
    }
}
