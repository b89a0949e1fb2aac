//! The latency that a backend has had lately, whatever single values say.

use std::collections::VecDeque;

use crate::outlier::figures::middle;

/// How many values are kept: eleven of them must be slow before their median is.
const MOST: usize = 21;

/// How many there must be.
const LEAST: usize = 11;

/// How long they mean something without a new one, in milliseconds.
const STALE_AFTER: u64 = 60_000;

/// The last latencies of a backend, in seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    values: VecDeque<f64>,
    /// The same by size.
    sorted: Vec<f64>,
    last_at: u64,
}

impl Recent {
    pub(super) fn add(&mut self, latency: f64, now: u64) {
        if self.is_stale(now) {
            self.values.clear();
            self.sorted.clear();
        }
        if self.values.len() == MOST
            && let Some(oldest) = self.values.pop_front()
        {
            self.sorted.remove(self.rank(oldest));
        }
        self.values.push_back(latency);
        self.sorted.insert(self.rank(latency), latency);
        self.last_at = now;
    }

    /// Their median; `None` if there are too few, or they are too old.
    pub(super) fn median(&self, now: u64) -> Option<f64> {
        if self.values.len() < LEAST || self.is_stale(now) {
            return None;
        }
        middle(&self.sorted)
    }

    fn rank(&self, latency: f64) -> usize {
        self.sorted.partition_point(|other| *other < latency)
    }

    const fn is_stale(&self, now: u64) -> bool {
        now.saturating_sub(self.last_at) > STALE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_them_must_change() {
        let mut recent = Recent::default();
        (0..10).for_each(|second| recent.add(1.0, second));
        assert_eq!(recent.median(10), None);
        (10..21).for_each(|second| recent.add(1.0, second));
        (21..31).for_each(|second| recent.add(9.0, second));
        assert_eq!(recent.median(31), Some(1.0));
        recent.add(9.0, 31);
        assert_eq!(recent.median(31), Some(9.0));
    }

    #[test]
    fn old_ones_say_nothing() {
        let mut recent = Recent::default();
        (0..21).for_each(|second| recent.add(1.0, second));
        assert_eq!(recent.median(60_020), Some(1.0));
        assert_eq!(recent.median(60_021), None);
        recent.add(2.0, 60_021);
        assert_eq!(recent.median(60_021), None);
    }
}
