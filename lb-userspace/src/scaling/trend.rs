//! The load and its trend: Holt's linear method, double exponential smoothing (C. C. Holt,
//! "Forecasting seasonals and trends by exponentially weighted moving averages", 1957).

use std::time::Duration;

/// Smooths a load and its trend, for loads that come at any distance of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trend {
    /// How far ahead it looks, in seconds.
    horizon: f64,
    now: Option<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Now {
    at_ms: u64,
    level: f64,
    /// A second.
    slope: f64,
}

impl Trend {
    /// Seconds in which an error of the level fades to a third: a tenth of the horizon within these
    /// bounds, long enough to smooth over what one second has more than another.
    const LEVEL: (f64, f64) = (5.0, 60.0);

    pub(super) const fn new(horizon: Duration) -> Self {
        Self { horizon: horizon.as_secs_f64(), now: None }
    }

    pub(super) const fn level(&self) -> Option<f64> {
        match self.now {
            Some(now) => Some(now.level),
            None => None,
        }
    }

    /// Takes in a load that is finite and not negative; returns the level, and what it will be at
    /// the horizon, neither of them negative.
    pub(super) fn observe(&mut self, at_ms: u64, load: f64) -> (f64, f64) {
        let now = match self.now {
            None => Now { at_ms, level: load, slope: 0.0 },
            Some(before) => self.follow(before, at_ms, load),
        };
        self.now = Some(now);
        (now.level, now.slope.mul_add(self.horizon, now.level).max(0.0))
    }

    fn follow(&self, before: Now, at_ms: u64, load: f64) -> Now {
        let elapsed = at_ms.saturating_sub(before.at_ms) as f64 / 1000.0;
        if elapsed <= 0.0 {
            return before;
        }
        // Half of the horizon: a trend that is to be relied on for so long has to be seen for about
        // as long.
        let of_level = weight(elapsed, (self.horizon / 10.0).clamp(Self::LEVEL.0, Self::LEVEL.1));
        let of_slope = weight(elapsed, (self.horizon / 2.0).max(Self::LEVEL.1));
        let expected = before.slope.mul_add(elapsed, before.level);
        let level = (load - expected).mul_add(of_level, expected).max(0.0);
        // A step begins as a ramp does, and would be foretold to go on. So no load is believed to
        // double within the horizon, which leaves little of a step that is over soon.
        let steepest = level.max(before.level) / self.horizon.max(1.0);
        let slope = ((level - before.level) / elapsed).clamp(-steepest, steepest);
        let slope = (slope - before.slope).mul_add(of_slope, before.slope);
        Now { at_ms, level, slope }
    }
}

/// What the newest observation counts after so many seconds without one.
fn weight(elapsed: f64, fades_in: f64) -> f64 {
    -(-elapsed / fades_in).exp_m1()
}
