//! How a backend's checks went.

use std::time::Duration;

use crate::health::CheckFailure;

/// How a backend's checks went since the daemon began to check it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckMetrics {
    /// Checks that passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
    /// Checks that this machine could not make.
    pub not_made: u64,
    seconds: f64,
    buckets: [u64; Self::BOUNDS.len()],
}

impl CheckMetrics {
    /// Upper bounds of the histogram of passed checks, in seconds: twice as long each. The last
    /// one takes what is longer.
    pub const BOUNDS: [f64; 16] = [
        0.0005,
        0.001,
        0.002,
        0.004,
        0.008,
        0.016,
        0.032,
        0.064,
        0.125,
        0.25,
        0.5,
        1.0,
        2.0,
        4.0,
        8.0,
        f64::INFINITY,
    ];

    /// Counts a result.
    pub fn record(&mut self, outcome: &Result<Duration, CheckFailure>) {
        match outcome {
            Ok(latency) => {
                let seconds = latency.as_secs_f64();
                self.passed += 1;
                self.seconds += seconds;
                self.buckets[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
            }
            Err(failure) if failure.is_local() => self.not_made += 1,
            Err(_) => self.failed += 1,
        }
    }

    /// Sum of the durations of passed checks in seconds, and how many fell under each bound but
    /// not under the one before.
    #[must_use]
    pub fn durations(&self) -> (f64, [(f64, u64); Self::BOUNDS.len()]) {
        let mut index = 0;
        let buckets = self.buckets.map(|count| {
            index += 1;
            (Self::BOUNDS[index - 1], count)
        });
        (self.seconds, buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_durations_into_buckets() {
        let mut metrics = CheckMetrics::default();
        for micros in [0, 500, 501, 9_000_000] {
            metrics.record(&Ok(Duration::from_micros(micros)));
        }
        metrics.record(&Err(CheckFailure::ConnectRefused));
        metrics.record(&Err(CheckFailure::OutOfDescriptors));
        let (sum, buckets) = metrics.durations();
        assert!((sum - 9.001_001).abs() < 1e-9);
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0005, 2), (0.001, 1), (f64::INFINITY, 1)]);
        assert_eq!((metrics.passed, metrics.failed, metrics.not_made), (4, 1, 1));
    }
}
