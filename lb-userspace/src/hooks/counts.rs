//! How hooks do, for metrics.

use std::time::Duration;

use super::Outcome;

/// How a hook has done since it came into force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookCounts {
    /// Name of the hook.
    pub hook: String,
    /// Runs that ended well.
    pub done: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were ended since they took too long.
    pub timeout: u64,
    /// Events that were kept back by the rate.
    pub limited: u64,
    /// Events that were not so any more when their turn came.
    pub superseded: u64,
    /// Events for which there was no room in the queue.
    pub dropped: u64,
    /// How long all runs took together.
    pub busy: Duration,
    buckets: [u64; Self::BOUNDS.len()],
}

impl HookCounts {
    /// Upper bounds of the histogram of runs, in seconds. The last one takes what is longer.
    pub const BOUNDS: [f64; 9] = [0.01, 0.05, 0.25, 1.0, 5.0, 10.0, 30.0, 60.0, f64::INFINITY];

    /// Nothing yet.
    pub(crate) fn new(hook: &str) -> Self {
        Self { hook: hook.to_owned(), ..Self::default() }
    }

    /// Counts a run.
    pub(crate) fn record(&mut self, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Timeout => self.timeout += 1,
        }
        self.busy += took;
        let seconds = took.as_secs_f64();
        self.buckets[Self::BOUNDS.partition_point(|bound| *bound < seconds)] += 1;
    }

    /// How many events came to which end.
    #[must_use]
    pub const fn results(&self) -> [(&'static str, u64); 6] {
        [
            ("done", self.done),
            ("failed", self.failed),
            ("timeout", self.timeout),
            ("limited", self.limited),
            ("superseded", self.superseded),
            ("dropped", self.dropped),
        ]
    }

    /// Sum of the durations of runs in seconds, and how many fell under each bound but not under the
    /// one before.
    #[must_use]
    pub fn durations(&self) -> (f64, [(f64, u64); Self::BOUNDS.len()]) {
        let bucket = |index: usize| (Self::BOUNDS[index], self.buckets[index]);
        (self.busy.as_secs_f64(), std::array::from_fn(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_end_and_duration() {
        let mut counts = HookCounts::new("page");
        counts.record(&Outcome::Done, Duration::from_millis(10));
        counts.record(&Outcome::Failed(String::new()), Duration::from_millis(11));
        counts.record(&Outcome::Timeout, Duration::from_secs(90));
        assert_eq!((counts.done, counts.failed, counts.timeout), (1, 1, 1));
        let (sum, buckets) = counts.durations();
        assert!((sum - 90.021).abs() < 1e-9);
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.01, 1), (0.05, 1), (f64::INFINITY, 1)]);
    }
}
