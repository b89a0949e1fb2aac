//! How many runs may begin, and how seldom somebody is told that more were wanted.

use std::time::{Duration, Instant};

/// Time between two times that somebody is told.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A token bucket: so many a minute in the long run, and as many at once after a quiet minute.
#[derive(Debug)]
pub(super) struct Rate {
    per_minute: u32,
    tokens: f64,
    filled_at: Instant,
    kept_back: u64,
    told_at: Option<Instant>,
}

impl Rate {
    pub(super) fn new(per_minute: u32, now: Instant) -> Self {
        let tokens = f64::from(per_minute);
        Self { per_minute, tokens, filled_at: now, kept_back: 0, told_at: None }
    }

    /// Whether one more may begin; if so it counts.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full = f64::from(self.per_minute);
        let minutes = now.saturating_duration_since(self.filled_at).as_secs_f64() / 60.0;
        self.tokens = (self.tokens + minutes * full).min(full);
        self.filled_at = now;
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }

    /// Counts one that may not begin. Returns how many that were since somebody was told, if it is
    /// time to tell.
    pub(super) fn keep_back(&mut self, now: Instant) -> Option<u64> {
        self.kept_back += 1;
        let is_due = |told: Instant| now.saturating_duration_since(told) >= TELL_EVERY;
        if !self.told_at.is_none_or(is_due) {
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_so_many_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::new(30, start);
        let taken = |rate: &mut Rate, now| (0..100).filter(|_| rate.take(now)).count();
        assert_eq!(taken(&mut rate, start), 30);
        assert_eq!(taken(&mut rate, at(1)), 0);
        assert_eq!(taken(&mut rate, at(2)), 1);
        assert_eq!(taken(&mut rate, at(12)), 5);
        assert_eq!(taken(&mut rate, at(3600)), 30);
    }

    #[test]
    fn somebody_is_told_at_once_and_then_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rate = Rate::new(1, start);
        assert_eq!(rate.keep_back(start), Some(1));
        assert_eq!(rate.keep_back(at(1)), None);
        assert_eq!(rate.keep_back(at(59)), None);
        assert_eq!(rate.keep_back(at(60)), Some(3));
        assert_eq!(rate.keep_back(at(61)), None);
    }
}
