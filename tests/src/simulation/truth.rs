//! How backends really are.

use std::time::Duration;

use lb_userspace::health::CheckFailure;

/// How a backend really is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Truth {
    /// It answers, and serves its clients.
    Well,
    /// Nobody listens.
    Refuses,
    /// Nothing comes back.
    Silent,
    /// So many of a hundred checks fail, and as many connections.
    Flaky(u8),
    /// It answers checks and fails its clients.
    FailsClients,
    /// It is slower than it was, so many times.
    Slow(u8),
}

impl Truth {
    /// One of them; every other time it is well.
    pub(super) fn draw(random: &mut fastrand::Rng) -> Self {
        match random.u8(0..12) {
            0 | 1 => Self::Refuses,
            2 | 3 => Self::Silent,
            4 => Self::Flaky(random.u8(10..90)),
            5 => Self::FailsClients,
            6 => Self::Slow(random.u8(2..20)),
            _ => Self::Well,
        }
    }

    /// What a check finds, and how long it takes.
    pub(super) fn check(
        self,
        random: &mut fastrand::Rng,
        timeout: Duration,
    ) -> (Result<Duration, CheckFailure>, u64) {
        let usual = Duration::from_micros(random.u64(800..1200));
        let milliseconds = timeout.as_millis() as u64;
        match self {
            Self::Well | Self::FailsClients => (Ok(usual), 1),
            Self::Slow(times) => (Ok((usual * u32::from(times)).min(timeout)), 1),
            Self::Refuses => (Err(CheckFailure::ConnectRefused), 1),
            Self::Flaky(percent) if random.u8(0..100) < percent => {
                (Err(CheckFailure::ConnectRefused), 1)
            }
            Self::Flaky(_) => (Ok(usual), 1),
            Self::Silent => (Err(CheckFailure::TimedOut(timeout)), milliseconds),
        }
    }

    /// How many of so many connections fail.
    pub(super) fn failures(self, random: &mut fastrand::Rng, attempts: u32) -> u32 {
        match self {
            Self::Well | Self::Slow(_) => 0,
            Self::Flaky(percent) => {
                (0..attempts).filter(|_| random.u8(0..100) < percent).count() as u32
            }
            Self::Refuses | Self::Silent | Self::FailsClients => attempts,
        }
    }

    /// Whether every check fails.
    pub(super) const fn is_down(self) -> bool {
        matches!(self, Self::Refuses | Self::Silent)
    }
}
