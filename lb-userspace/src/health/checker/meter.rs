//! How the checker keeps up.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts for all tasks of a checker.
#[derive(Debug, Default)]
pub(super) struct Meter {
    in_flight: AtomicU64,
    not_made: AtomicU64,
    late_micros: AtomicU64,
    late: [AtomicU64; Lateness::BOUNDS.len()],
}

/// A check in flight, as long as it lives.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Meter);

impl Meter {
    /// Counts a check that begins so long after it was due.
    pub(super) fn begin(&self, late: Duration) -> InFlight<'_> {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.late[Lateness::bucket(late)].fetch_add(1, Relaxed);
        self.late_micros.fetch_add(micros, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// Counts a check for which there was no file descriptor.
    pub(super) fn was_not_made(&self) {
        self.not_made.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self) -> CheckerCounts {
        CheckerCounts {
            in_flight: self.in_flight.load(Relaxed),
            not_made: self.not_made.load(Relaxed),
            lateness: Lateness {
                micros: self.late_micros.load(Relaxed),
                buckets: std::array::from_fn(|index| self.late[index].load(Relaxed)),
            },
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// How a checker keeps up, its agents included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckerCounts {
    /// Checks that wait for an answer now.
    pub in_flight: u64,
    /// Checks that were not made, since all file descriptors were in use for a whole interval.
    pub not_made: u64,
    /// How late checks began.
    pub lateness: Lateness,
}

/// How late checks began, as a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lateness {
    micros: u64,
    buckets: [u64; Self::BOUNDS.len()],
}

impl Lateness {
    /// Upper bounds in seconds. The last one takes what is later.
    pub const BOUNDS: [f64; 28] = [
        0.001,
        0.002,
        0.003,
        0.004,
        0.005,
        0.006,
        0.008,
        0.01,
        0.015,
        0.02,
        0.025,
        0.03,
        0.04,
        0.05,
        0.06,
        0.08,
        0.1,
        0.15,
        0.2,
        0.3,
        0.4,
        0.6,
        0.8,
        1.0,
        2.0,
        5.0,
        10.0,
        f64::INFINITY,
    ];

    fn bucket(late: Duration) -> usize {
        let seconds = late.as_secs_f64();
        // A duration is finite, so one bound at least is not below it.
        Self::BOUNDS.partition_point(|bound| *bound < seconds)
    }

    /// How many checks there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All lateness together, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// Bounds, and how many checks were as late but not within the bound before.
    #[must_use]
    pub fn buckets(&self) -> [(f64, u64); Self::BOUNDS.len()] {
        std::array::from_fn(|index| (Self::BOUNDS[index], self.buckets[index]))
    }

    /// How late this share of checks, from 0 to 1, was at most, in seconds: the bound above it.
    /// `None` if there were no checks.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.buckets().into_iter().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        reached.map(|(bound, _)| bound)
    }

    /// What came after an earlier reading of the same checker.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            micros: self.micros.wrapping_sub(earlier.micros),
            buckets: std::array::from_fn(|index| {
                self.buckets[index].saturating_sub(earlier.buckets[index])
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_ranks() {
        let meter = Meter::default();
        assert_eq!(meter.read().lateness.quantile(0.5), None);
        for millis in (1..=99).chain([700]) {
            meter.begin(Duration::from_millis(millis));
        }
        let lateness = meter.read().lateness;
        assert_eq!((lateness.count(), lateness.quantile(0.5)), (100, Some(0.05)));
        assert_eq!((lateness.quantile(0.99), lateness.quantile(1.0)), (Some(0.1), Some(0.8)));
        assert!((lateness.sum() - 5.65).abs() < 1e-9);
        meter.begin(Duration::from_secs(3600));
        let more = meter.read().lateness.since(&lateness);
        assert_eq!((more.count(), more.quantile(0.0)), (1, Some(f64::INFINITY)));
    }

    #[test]
    fn what_ends_is_no_longer_in_flight() {
        let meter = Meter::default();
        let one = meter.begin(Duration::ZERO);
        let two = meter.begin(Duration::ZERO);
        assert_eq!(meter.read().in_flight, 2);
        drop((one, two));
        meter.was_not_made();
        assert_eq!((meter.read().in_flight, meter.read().not_made), (0, 1));
    }
}
