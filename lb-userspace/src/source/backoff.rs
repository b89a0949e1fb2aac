//! How long to wait before the next attempt.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles with every failure, from 100 ms to 5 s, and takes off up to half at random, so that a
/// group of load balancers does not come back to a registry all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next attempt follows at once.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    pub(super) const fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn delay(&self) -> Duration {
        // Each `RandomState` has keys of its own, which is all the randomness needed here.
        let random = RandomState::new().hash_one(());
        self.longest_delay().mul_f64(1.0 - (random % 1000) as f64 / 2000.0)
    }

    fn longest_delay(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        SHORTEST.saturating_mul(factor).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_limit() {
        let mut backoff = Backoff::default();
        let mut found = Vec::new();
        for _ in 0..100 {
            found.push(backoff.longest_delay().as_millis());
            assert!(backoff.delay() <= backoff.longest_delay());
            assert!(backoff.delay() >= backoff.longest_delay() / 2);
            backoff.failed();
        }
        assert_eq!(found[..8], [0, 100, 200, 400, 800, 1600, 3200, 5000]);
        assert!(found[8..].iter().all(|delay| *delay == 5000));
        backoff.reset();
        assert_eq!(backoff.delay(), Duration::ZERO);
    }
}
