//! How a backend that was out comes back.

use std::time::Duration;

/// How a backend that was out comes back. By default at once, with all of its weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovery {
    /// It comes back with little weight and gets more with time.
    pub slow_start: Option<SlowStart>,
    /// It is tried with a part of its weight first, and goes out at the first failure.
    pub trial: Option<Trial>,
    /// Shortest time for which it stays out.
    pub hold_down: Duration,
    /// Whether one that goes out again and again is kept out for longer.
    pub damping: Option<Damping>,
}

/// Weight that grows with time: `max(from, (t / duration) ^ (1 / aggression))` of the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// Until it has all of its weight.
    pub duration: Duration,
    /// Percent of its weight that it begins with, 1 to 100.
    pub from: u8,
    /// 1 is linear; above it weight grows fast at first, below it slowly. 0.1 to 10.
    pub aggression: f64,
}

/// A time in which a backend gets few flows and may not fail once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// How long.
    pub duration: Duration,
    /// Percent of its weight, 1 to 100.
    pub weight: u8,
}

/// Flap damping after RFC 2439: going out costs a point, points fade with a half-life. From `limit`
/// points on a backend stays out until no more than `reuse` are left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Damping {
    /// Points from which it is kept out, above `reuse`.
    pub limit: f64,
    /// Points at which it may come back.
    pub reuse: f64,
    /// Time in which half of the points fade.
    pub half_life: Duration,
    /// Longest time for which it is kept out: more points than fade in it do not count.
    pub longest: Duration,
}

impl Damping {
    /// Points of which, at most, a backend is made to wait for: those that fade to `reuse` within
    /// `longest` (RFC 2439, section 4.2).
    #[must_use]
    pub fn ceiling(&self) -> f64 {
        let half_lives = self.longest.as_secs_f64() / self.half_life.as_secs_f64();
        // What would be more than this has no meaning for anybody who waits.
        self.reuse * half_lives.min(64.0).exp2()
    }

    /// What is left of points after so many milliseconds.
    #[must_use]
    pub fn faded(&self, points: f64, milliseconds: u64) -> f64 {
        points * (-(milliseconds as f64 / 1000.0) / self.half_life.as_secs_f64()).exp2()
    }

    /// Milliseconds until no more than `reuse` of the points are left.
    #[must_use]
    pub fn wait(&self, points: f64) -> u64 {
        let half_lives = (points / self.reuse).log2().max(0.0);
        (half_lives * self.half_life.as_secs_f64() * 1000.0).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fade_and_waiting_is_bounded() {
        let damping = Damping {
            limit: 3.0,
            reuse: 1.0,
            half_life: Duration::from_secs(60),
            longest: Duration::from_secs(240),
        };
        assert!((damping.faded(4.0, 60_000) - 2.0).abs() < 1e-9);
        assert_eq!(damping.wait(4.0), 120_000);
        assert_eq!(damping.wait(0.5), 0);
        assert!((damping.ceiling() - 16.0).abs() < 1e-9);
        assert_eq!(damping.wait(damping.ceiling()), 240_000);
    }
}
