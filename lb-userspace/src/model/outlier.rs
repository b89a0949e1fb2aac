//! What makes a backend an outlier, and what becomes of it.

use std::time::Duration;

/// How outliers of a service are found and kept out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierSettings {
    /// Failed attempts in a row that eject a backend; 0 does not look for them.
    pub consecutive_failures: u32,
    /// Share of attempts that fail, in percent, from which on a backend is ejected; 0 does not look
    /// for it.
    pub failure_rate: u8,
    /// How far back the share is counted.
    pub failure_window: Duration,
    /// Attempts without which the share says nothing.
    pub failure_attempts: u32,
    /// How many hundredths of the others' latency eject a backend: 300 is three times as slow; 0
    /// does not look for it.
    pub latency_factor: u32,
    /// Latencies that differ by less than this are alike.
    pub latency_least: Duration,
    /// Whether backends are compared with their own past.
    pub drift: bool,
    /// Whether backends are compared with the same hour of former weeks.
    pub learned: bool,
    /// How long a backend's first ejection lasts; the second lasts twice as long, and so on.
    pub base_ejection_time: Duration,
    /// How long an ejection lasts at most.
    pub max_ejection_time: Duration,
    /// Share of the backends, in percent, that may be ejected at a time.
    pub max_ejected: u8,
}

impl OutlierSettings {
    /// What holds for a service whose configuration asks for it and says nothing else.
    pub const USUAL: Self = Self {
        consecutive_failures: 5,
        failure_rate: 50,
        failure_window: Duration::from_secs(10),
        failure_attempts: 10,
        latency_factor: 300,
        latency_least: Duration::from_millis(5),
        drift: true,
        learned: false,
        base_ejection_time: Duration::from_secs(30),
        max_ejection_time: Duration::from_secs(300),
        max_ejected: 10,
    };

    /// Nothing is looked for: what holds where the configuration says nothing at all.
    pub const OFF: Self = Self {
        consecutive_failures: 0,
        failure_rate: 0,
        latency_factor: 0,
        drift: false,
        learned: false,
        ..Self::USUAL
    };

    /// Whether nothing is looked for.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        !self.has_rules() && !self.drift && !self.learned
    }

    /// Whether any of the fixed rules is looked at.
    #[must_use]
    pub const fn has_rules(&self) -> bool {
        self.consecutive_failures > 0 || self.failure_rate > 0 || self.latency_factor > 0
    }

    /// How many of a pool of `size` backends may be ejected at a time.
    ///
    /// The share is rounded down, but one of three or more may always be ejected, unless the share
    /// is 0; and never all.
    #[must_use]
    pub fn most_ejected(&self, size: usize) -> usize {
        let share = size * usize::from(self.max_ejected.min(100)) / 100;
        let least = usize::from(size > 2 && self.max_ejected > 0);
        share.max(least).min(size.saturating_sub(1))
    }
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self::OFF
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_where_nothing_is_asked() {
        assert!(OutlierSettings::default().is_off());
        assert!(!OutlierSettings::USUAL.is_off());
        assert!(!OutlierSettings { learned: true, ..OutlierSettings::OFF }.is_off());
        assert!(!OutlierSettings { latency_factor: 150, ..OutlierSettings::OFF }.is_off());
    }

    #[test]
    fn one_of_three_and_never_all() {
        let most = |max_ejected, size| {
            OutlierSettings { max_ejected, ..OutlierSettings::USUAL }.most_ejected(size)
        };
        let usual: Vec<_> = [0, 1, 2, 3, 10, 19, 20, 1000].map(|size| most(10, size)).to_vec();
        assert_eq!(usual, [0, 0, 0, 1, 1, 1, 2, 100]);
        assert_eq!([0, 1, 2, 3, 10].map(|size| most(100, size)), [0, 0, 1, 2, 9]);
        assert_eq!([1, 2, 3, 10].map(|size| most(50, size)), [0, 1, 1, 5]);
        assert_eq!([1, 2, 3, 10].map(|size| most(0, size)), [0; 4]);
    }
}
