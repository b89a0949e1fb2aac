//! Whether a change is more than chance: a cumulative sum of what speaks for it.
//!
//! Page, "Continuous inspection schemes", Biometrika 41 (1954).

use super::steps::{Steps, Sure};

/// How far a sum must rise before a change is more than chance.
///
/// One that has no cause comes after e^20 periods on average, or 500 million: for sums of
/// likelihood ratios by Lorden, "Procedures for reacting to a change in distribution", Annals of
/// Mathematical Statistics 42 (1971); for those of latencies, by Siegmund's approximation in
/// "Sequential Analysis" (1985), even later.
pub(super) const ALARM: f64 = 20.0;

/// A sum does not rise further, so that it falls as soon as the cause is gone.
const MOST: f64 = 2.0 * ALARM;

/// After how long without a value nothing is held against a backend, in milliseconds.
const SILENT_AFTER: u64 = 300_000;

/// Half of the least change of a latency that matters, in deviations: by so much its sum falls in
/// each period without one.
const SLACK: f64 = 0.5;

/// No single latency counts for more deviations than these.
const CLIP: f64 = 3.0;

/// Values that what is now is made of.
pub(super) const LATELY: f64 = 20.0;

/// How many values that know nothing of each other what is now is worth: the variance of an
/// exponentially weighted mean is so many times less than theirs.
const WORTH: f64 = 2.0 * LATELY - 1.0;

/// How many of its own deviations what is now must be away.
const DISTANCE: f64 = 5.0;

/// A share of failures that is usual, however few or many there were.
const USUAL_SHARES: (f64, f64) = (0.01, 0.99);

/// A sum that rises for as long as values are higher than usual, with what follows from it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    sum: f64,
    steps: Steps,
    last_at: u64,
}

impl Alarm {
    /// Takes in how much a value speaks for a change, and how large the change is, in quarters of
    /// what is unbearable.
    pub(super) fn take(&mut self, speaks: f64, quarters: f64, now: u64) {
        self.sum = (self.sum + speaks).clamp(0.0, MOST);
        self.steps.take(quarters, Sure::when(self.is_sure()), now);
        self.last_at = now;
    }

    /// There was no value.
    pub(super) fn idle(&mut self, now: u64) {
        if self.steps.is_up() && now.saturating_sub(self.last_at) >= SILENT_AFTER {
            self.sum = 0.0;
            self.steps.take(0.0, Sure::No, now);
        }
    }

    /// What is held against the backend.
    pub(super) const fn steps(&self) -> Steps {
        self.steps
    }

    /// Whether something is, or would be if it were larger.
    pub(super) fn is_on(&self) -> bool {
        self.is_sure() || self.steps.is_up()
    }

    fn is_sure(&self) -> bool {
        self.sum >= ALARM
    }
}

/// The deviation of latencies, of which each may be like the one before: then their mean varies
/// more than it should, and so much larger is the deviation that counts. `level` is the variance of
/// what is now, `floor` the least deviation.
pub(super) fn deviation(variance: f64, level: f64, floor: f64) -> f64 {
    variance.max(WORTH * level).sqrt().max(floor)
}

/// Whether what is now is so far away from what is usual, as a logarithm, that it is not by chance.
pub(super) fn is_far(change: f64, deviation: f64) -> bool {
    change >= DISTANCE * deviation / WORTH.sqrt()
}

/// How many deviations a latency is away, as far as they count. All are logarithms.
pub(super) fn deviations(latency: f64, usual: f64, deviation: f64) -> f64 {
    ((latency - usual) / deviation).clamp(-CLIP, CLIP)
}

/// How much a latency speaks for a change.
pub(super) fn latency_speaks(latency: f64, usual: f64, deviation: f64) -> f64 {
    deviations(latency, usual, deviation) - SLACK
}

/// A share of failures that nobody wonders at, kept away from never and always.
pub(super) fn bounded(share: f64) -> f64 {
    share.clamp(USUAL_SHARES.0, USUAL_SHARES.1)
}

/// How much failures speak for a share that is larger by `more` than the usual one, which is
/// [`bounded`]: the logarithm of the ratio of their likelihoods.
pub(super) fn failures_speak(failures: f64, attempts: f64, usual: f64, more: f64) -> f64 {
    let suspected = (usual + more).min((1.0 + usual) / 2.0);
    let passed = (attempts - failures).max(0.0);
    failures * (suspected / usual).ln() + passed * ((1.0 - suspected) / (1.0 - usual)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against Python's `math`: `log(.135 / .01)` and `log(.865 / .99)`.
    #[test]
    fn likelihoods_by_hand() {
        let speaks = |failures, attempts| failures_speak(failures, attempts, 0.01, 0.125);
        assert!((speaks(1.0, 1.0) - 2.602_690).abs() < 1e-5);
        assert!((speaks(0.0, 1.0) + 0.134_975).abs() < 1e-5);
        assert!((speaks(2.0, 10.0) - (2.0 * 2.602_690 - 8.0 * 0.134_975)).abs() < 1e-4);
    }

    #[test]
    fn a_sum_forgets_as_fast_as_it_learns() {
        let mut alarm = Alarm::default();
        (0..1_000_000).for_each(|now| alarm.take(1e9, 0.0, now));
        assert!(alarm.is_on());
        (0..40).for_each(|now| alarm.take(-SLACK, 0.0, now));
        assert!(alarm.is_on());
        alarm.take(-SLACK, 0.0, 0);
        assert!(!alarm.is_on());
    }

    #[test]
    fn nothing_is_held_against_one_that_is_not_seen_any_more() {
        let mut alarm = Alarm::default();
        alarm.take(100.0, 1.5, 0);
        alarm.idle(299_999);
        assert!(alarm.is_on());
        alarm.idle(300_000);
        alarm.idle(330_000);
        assert!(!alarm.is_on());
    }
}
