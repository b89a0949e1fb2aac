//! Attempts of the last seconds.

use std::{collections::VecDeque, time::Duration};

use crate::outlier::Tally;

/// Into how many parts a window is divided: it is longer than asked by one of them at most.
const PARTS: u64 = 10;

/// Attempts and failures of a time that moves with the clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// How long a part is, in milliseconds.
    part: u64,
    /// Parts by their number since the clock began, with attempts and failures.
    parts: VecDeque<(u64, u64, u64)>,
    /// Attempts and failures of all parts.
    sum: (u64, u64),
}

impl Window {
    /// Counts a period that ended at `now`. Another length than before begins anew.
    pub(super) fn add(&mut self, tally: Tally, now: u64, length: Duration) {
        let part = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).div_ceil(PARTS).max(1);
        if part != self.part {
            *self = Self { part, ..Self::default() };
        }
        // What ended right at the border of a part belongs to the one before.
        let number = now.saturating_sub(1) / part;
        while self.parts.front().is_some_and(|(old, ..)| old.saturating_add(PARTS) <= number) {
            if let Some((_, attempts, failures)) = self.parts.pop_front() {
                self.sum.0 -= attempts;
                self.sum.1 -= failures;
            }
        }
        if self.parts.back().is_none_or(|(last, ..)| *last < number) {
            self.parts.push_back((number, 0, 0));
        }
        if let Some((_, attempts, failures)) = self.parts.back_mut() {
            *attempts += u64::from(tally.attempts);
            *failures += u64::from(tally.failures);
            self.sum.0 += u64::from(tally.attempts);
            self.sum.1 += u64::from(tally.failures);
        }
    }

    /// Attempts and failures.
    pub(super) const fn sum(&self) -> (u64, u64) {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_last_ten_seconds() {
        let mut window = Window::default();
        for second in 1..=100_u32 {
            let tally = Tally { attempts: second, failures: 1 };
            window.add(tally, 1000 * u64::from(second), Duration::from_secs(10));
            let last = second.saturating_sub(9).max(1)..=second;
            let expected = (last.clone().map(u64::from).sum(), last.count() as u64);
            assert_eq!(window.sum(), expected);
        }
        assert_eq!(window.parts.len(), 10);
        window.add(Tally::default(), 110_000, Duration::from_secs(10));
        assert_eq!(window.sum(), (0, 0));
    }

    #[test]
    fn is_bounded_whatever_the_clock_does() {
        let mut window = Window::default();
        let tally = Tally { attempts: u32::MAX, failures: u32::MAX };
        for now in [5, 5, 4, 0, u64::MAX, 7, u64::MAX] {
            for _ in 0..100 {
                window.add(tally, now, Duration::ZERO);
                window.add(tally, now, Duration::MAX);
            }
        }
        assert!(window.parts.len() <= 10);
    }
}
