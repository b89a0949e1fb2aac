//! The greatest of what was said lately.

use std::collections::VecDeque;

/// The greatest number of the last while.
#[derive(Clone, Debug)]
pub(super) struct Peak {
    /// Milliseconds for which a number counts.
    lasts: u64,
    /// Numbers with their times: each less than the one before it, or that one would not matter.
    kept: VecDeque<(u64, u32)>,
}

impl Peak {
    pub(super) const fn new(lasts: u64) -> Self {
        Self { lasts, kept: VecDeque::new() }
    }

    /// Takes in a number; returns the greatest of those that count, this one included.
    pub(super) fn add(&mut self, now_ms: u64, number: u32) -> u32 {
        while self.kept.front().is_some_and(|(at, _)| now_ms.saturating_sub(*at) > self.lasts) {
            self.kept.pop_front();
        }
        while self.kept.back().is_some_and(|(_, last)| *last <= number) {
            self.kept.pop_back();
        }
        self.kept.push_back((now_ms, number));
        self.kept.front().map_or(number, |(_, greatest)| *greatest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_greatest_of_the_window(
            said in prop::collection::vec((0_u64..50, 0_u32..20), 1..60),
            lasts in 0_u64..200,
        ) {
            let mut peak = Peak::new(lasts);
            let mut now = 0;
            let mut history: Vec<(u64, u32)> = Vec::new();
            for (elapsed, number) in said {
                now += elapsed;
                history.push((now, number));
                let counts = history.iter().filter(|(at, _)| now - at <= lasts);
                let greatest = counts.map(|(_, number)| *number).max();
                prop_assert_eq!(Some(peak.add(now, number)), greatest);
            }
        }
    }
}
