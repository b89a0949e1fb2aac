//! From a service's load to the number of backends that it asks for. Pure: no clock, no I/O.
//!
//! The load is smoothed together with its trend ([`trend`]), which makes two numbers: what is needed
//! now, and what will be needed at the horizon. The greater one counts. It grows at once, and shrinks
//! only to the greatest that was asked for during the cool-down, as in the stabilisation window of
//! Kubernetes' horizontal pod autoscaler.

mod peak;
mod rate;
mod trend;

use std::fmt;

use crate::model::Scaling;
use peak::Peak;
use trend::Trend;

pub use rate::Rate;

/// How many backends a service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// What the load of now needs.
    pub demand: u32,
    /// What the load at the horizon will need.
    pub predicted: u32,
    /// What is asked for.
    pub desired: u32,
    /// What it follows from, as one phrase.
    pub evidence: String,
}

/// Follows the load of one service.
#[derive(Clone, Debug)]
pub struct Scaler {
    settings: Scaling,
    trend: Trend,
    /// What was recommended during the cool-down.
    peak: Peak,
    desired: Option<Desired>,
}

impl Scaler {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(settings: Scaling) -> Self {
        let peak = Peak::new(millis(settings.cooldown));
        Self { trend: Trend::new(settings.horizon), peak, settings, desired: None }
    }

    /// What it goes by.
    #[must_use]
    pub const fn settings(&self) -> &Scaling {
        &self.settings
    }

    /// The load, smoothed; `None` before it was first seen.
    #[must_use]
    pub const fn load(&self) -> Option<f64> {
        self.trend.level()
    }

    /// How many are asked for; `None` before the load was first seen.
    #[must_use]
    pub const fn desired(&self) -> Option<&Desired> {
        self.desired.as_ref()
    }

    /// Takes in the load at a time in milliseconds that never goes back. What is no load, such as
    /// less than none, is passed over. Backends that serve at the first look count as asked for, so
    /// that a new beginning takes none away before the cool-down is over.
    pub fn observe(&mut self, now_ms: u64, load: f64, serving_backends: u32) {
        if !(load.is_finite() && load >= 0.0) {
            return;
        }
        let (level, foretold) = self.trend.observe(now_ms, load);
        let (demand, predicted) = (self.needed(level), self.needed(foretold));
        let asked = self.desired.as_ref().map_or_else(
            || serving_backends.clamp(self.settings.min, self.settings.max),
            |desired| desired.desired,
        );
        if self.desired.is_none() {
            self.peak.add(now_ms, asked);
        }
        let recommended = self.recommended(asked, level.max(foretold));
        let desired = self.peak.add(now_ms, recommended);
        let evidence = Evidence { settings: &self.settings, level, foretold }.to_string();
        self.desired = Some(Desired { demand, predicted, desired, evidence });
    }

    /// What a load calls for, or what is asked for already where that is near enough.
    fn recommended(&self, asked: u32, load: f64) -> u32 {
        let made_for = f64::from(asked) * self.settings.wanted_load();
        let slack = made_for * f64::from(self.settings.tolerance) / 100.0;
        if (load - made_for).abs() <= slack { asked } else { self.needed(load) }
    }

    fn needed(&self, load: f64) -> u32 {
        // What is more than a `u32` holds becomes its greatest, and nothing here is negative.
        let backends = (load / self.settings.wanted_load()).ceil() as u32;
        backends.clamp(self.settings.min, self.settings.max)
    }
}

/// What a number of backends follows from.
struct Evidence<'a> {
    settings: &'a Scaling,
    level: f64,
    foretold: f64,
}

impl fmt::Display for Evidence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaling { measure, per_backend, target, horizon, .. } = *self.settings;
        write!(
            f,
            "{} {measure}, {} in {}; a backend is to carry {target} % of {}",
            Figure(self.level),
            Figure(self.foretold),
            humantime::format_duration(horizon),
            Figure(per_backend)
        )
    }
}

/// A number as people read it: with three digits at least.
struct Figure(f64);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(value) = *self;
        match value {
            1e9.. => write!(f, "{:.2} G", value / 1e9),
            1e6.. => write!(f, "{:.2} M", value / 1e6),
            100.0.. => write!(f, "{value:.0}"),
            _ => write!(f, "{value:.1}"),
        }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
