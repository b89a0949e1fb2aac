//! From a counter to how fast it grows.

/// How fast a counter grows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// When it was last read, in milliseconds, and what it was.
    last: Option<(u64, u64)>,
}

impl Rate {
    /// Takes in a reading; returns how much there was a second since the one before. `None` at the
    /// first reading, after one of the same time, and where the counter began anew.
    pub fn read(&mut self, now_ms: u64, count: u64) -> Option<f64> {
        let (before_ms, before) = self.last.replace((now_ms, count))?;
        let elapsed = now_ms.checked_sub(before_ms).filter(|elapsed| *elapsed > 0)?;
        let more = count.checked_sub(before)?;
        Some(more as f64 * 1000.0 / elapsed as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_begin_anew_are_no_load() {
        let mut rate = Rate::default();
        let readings = [(0, 500), (1000, 600), (3000, 1000), (3000, 1000), (4000, 7), (4500, 12)];
        let rates = readings.map(|(at, count)| rate.read(at, count));
        assert_eq!(rates, [None, Some(100.0), Some(200.0), None, None, Some(10.0)]);
    }
}
