//! Backends that drift away from their own past while the others stay where they are.
//!
//! Of each backend's latencies and shares of failures an exponentially weighted mean says what is
//! usual for it, a quicker one where it is now, and a cumulative sum whether the difference is more
//! than chance. How large the difference is decides how much of its weight stays.

mod failures;
mod latency;

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Detector, Finding, Period,
    alarm::Alarm,
    figures::{self, Figures},
    observation::Source,
};
use crate::model::OutlierSettings;
use failures::FailureDrift;
use latency::LatencyDrift;

/// The word for it.
pub const DRIFT: &str = "drift";

/// Periods with a value that the usual ones are remembered for: half an hour of seconds.
const MEMORY: f64 = 1800.0;

/// The same for the share of failures that is now.
const LATELY: f64 = 5.0;

/// Attempts that the share of failures that is now is made of at least.
const ENOUGH: f64 = 20.0;

/// How much more slowly is learned what is suspected to be wrong. A backend that stays as it has
/// become is taken for usual after some hours.
const CAUTION: f64 = 10.0;

/// Periods with a value before anything is said.
const LEAST: u32 = 300;

/// Finds drift.
#[derive(Clone, Debug)]
pub struct Stream {
    settings: OutlierSettings,
    backends: BTreeMap<IpAddr, [Track; 2]>,
}

/// What is known of one backend from one source.
#[derive(Clone, Debug, Default)]
struct Track {
    latency: LatencyDrift,
    failures: FailureDrift,
}

/// What share of what is usual a new value has.
fn share_of_new(count: u32, alarm: &Alarm) -> f64 {
    let share = figures::share_of_new(count, MEMORY);
    if alarm.is_on() { share / CAUTION } else { share }
}

impl Stream {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(settings: OutlierSettings) -> Self {
        Self { settings, backends: BTreeMap::new() }
    }

    /// The same under other settings.
    pub(super) fn with(mut self, settings: OutlierSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Compares each backend's change with those of the others, so that what all have in common is
    /// held against none.
    fn take(&mut self, period: &Period<'_>, source: Source) {
        for (backend, observation) in period.backends {
            let track = &mut self.backends.entry(*backend).or_default()[source as usize];
            track.latency.look(observation.latency(source));
            track.failures.look(observation.tally(source));
        }
        let tracks = || {
            let track = |backend: &IpAddr| Some(&self.backends.get(backend)?[source as usize]);
            period.backends.keys().filter_map(track)
        };
        let latencies = Figures::new(tracks().filter_map(|track| track.latency.change()));
        let failures = Figures::new(tracks().filter_map(|track| track.failures.share()));
        for (backend, observation) in period.backends {
            let Some(tracks) = self.backends.get_mut(backend) else { continue };
            let track = &mut tracks[source as usize];
            let (settings, now) = (&self.settings, period.now);
            track.latency.judge(observation.latency(source), &latencies, settings, now);
            track.failures.judge(observation.tally(source), &failures, settings, now);
        }
    }
}

impl Detector for Stream {
    fn name(&self) -> &'static str {
        DRIFT
    }

    fn observe(&mut self, period: &Period<'_>) -> Vec<Finding> {
        Source::ALL.into_iter().for_each(|source| self.take(period, source));
        let mut found = Vec::new();
        for backend in period.backends.keys() {
            let Some(tracks) = self.backends.get(backend) else { continue };
            for (track, source) in tracks.iter().zip(Source::ALL) {
                found.extend(track.latency.findings(*backend, source));
                found.extend(track.failures.findings(*backend, source));
            }
        }
        found
    }

    fn restart(&mut self, backend: &IpAddr) {
        for track in self.backends.get_mut(backend).into_iter().flatten() {
            track.latency.restart();
            track.failures.restart();
        }
    }

    fn known(&self) -> Vec<IpAddr> {
        self.backends.keys().copied().collect()
    }

    fn forget(&mut self, backend: &IpAddr) {
        self.backends.remove(backend);
    }
}
