//! When a target is checked. Pure: times are counted from the checker's epoch.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use super::Pace;
use crate::model::{AgentCheck, BackendName, HealthCheck};

/// When a target is checked: at its place in each interval. Names decide on the place, so thousands
/// of checks spread evenly and keep their places when the set of targets changes.
///
/// Jitter moves each check about its place rather than about the check before it, so that intervals
/// are as uneven as was asked for, and yet nothing drifts into bursts.
///
/// All times are nanoseconds, here 584 years of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rhythm {
    interval: u64,
    fast: u64,
    down: u64,
    /// By how many percent intervals may be longer or shorter.
    jitter: u64,
    /// Hangs on the name alone.
    seed: u64,
}

impl Rhythm {
    pub(super) fn of_check(backend: &BackendName, check: &HealthCheck) -> Self {
        Self {
            interval: nanos(check.interval).max(1),
            fast: nanos(check.fast_interval).max(1),
            down: nanos(check.down_interval).max(1),
            jitter: u64::from(check.jitter).min(50),
            seed: hash(backend),
        }
    }

    pub(super) fn of_agent(backend: &BackendName, agent: &AgentCheck) -> Self {
        let interval = nanos(agent.interval).max(1);
        // Another place than the backend's check has.
        let seed = hash(&(backend, "agent"));
        Self { interval, fast: interval, down: interval, jitter: 0, seed }
    }

    /// The interval of a pace.
    pub(super) const fn interval(&self, pace: Pace) -> Duration {
        Duration::from_nanos(match pace {
            Pace::Normal => self.interval,
            Pace::Fast => self.fast,
            Pace::Down => self.down,
        })
    }

    /// When a target that is new at `now` is checked first: within `soon`, so that a new backend
    /// need not wait for its turn; or at its turn, if the wait for that is hardly longer.
    pub(super) fn first(&self, now: Duration, soon: Duration) -> Duration {
        let (now, soon) = (nanos(now), nanos(soon));
        if soon > self.interval / 2 {
            let turn = (now + self.interval - self.place()) / self.interval;
            return Duration::from_nanos(self.place() + turn * self.interval);
        }
        Duration::from_nanos(now + part(soon, self.seed))
    }

    /// When the check is due after one that began at `last`.
    pub(super) fn next(&self, last: Duration, pace: Pace) -> Duration {
        let last = nanos(last);
        Duration::from_nanos(match pace {
            Pace::Normal => last + self.until_turn(last),
            Pace::Fast => last + self.jittered(self.fast, last),
            Pace::Down => last + self.jittered(self.down, last),
        })
    }

    /// Nanoseconds from `last` to the next turn. Where this is less than half of what it should be,
    /// since `last` was none, it takes two steps to get back: neither is longer than the interval,
    /// or shorter than half of it.
    fn until_turn(&self, last: u64) -> u64 {
        // A turn lies up to so much on either side of its place.
        let reach = self.interval * self.jitter / 200;
        let turn = (last + reach + self.interval - self.place()) / self.interval;
        let shift = part(2 * reach, mix(self.seed ^ turn));
        let at = (self.place() + turn * self.interval + shift).saturating_sub(reach);
        let wait = at.saturating_sub(last);
        if wait < self.interval / 2 - reach { wait.midpoint(self.interval) } else { wait }
    }

    /// An interval, up to `jitter` percent longer or shorter.
    fn jittered(&self, interval: u64, last: u64) -> u64 {
        let reach = interval * self.jitter / 100;
        interval - reach + part(2 * reach, mix(self.seed ^ last))
    }

    /// Where in the interval its turn is, without jitter.
    const fn place(&self) -> u64 {
        part(self.interval, self.seed)
    }
}

/// So much of a whole as the number is of all numbers: 0 for 0, nearly the whole for the greatest.
const fn part(whole: u64, number: u64) -> u64 {
    // The product of two 64-bit numbers has at most 128 bits, and its upper half 64.
    ((whole as u128 * number as u128) >> 64) as u64
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A number that looks like chance: the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast
/// Splittable Pseudorandom Number Generators", 2014).
const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
