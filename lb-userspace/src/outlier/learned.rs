//! What is unusual at this hour of the week, by what the same hour was like in former weeks.
//!
//! A backend that is slow every night while it is backed up is not unusual then; as slow at noon it
//! is. Each hour that has passed is one visit; nothing is said before the same hour has been visited
//! a few times, so it takes weeks to learn.

mod history;
mod hour;

use std::{collections::BTreeMap, net::IpAddr};

use super::{Detector, Finding, Period, figures::Figures, observation::Source};
use crate::model::OutlierSettings;
pub use history::History;
use hour::Track;

/// The word for it.
pub const LEARNED: &str = "learned";

/// Hours of a week.
const HOURS: u8 = 168;

/// Finds what is unusual at this hour.
#[derive(Clone, Debug)]
pub struct Learned {
    settings: OutlierSettings,
    history: History,
    /// The hour that `tracks` are of.
    hour: u8,
    tracks: BTreeMap<IpAddr, [Track; 2]>,
}

impl Learned {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(settings: OutlierSettings) -> Self {
        Self { settings, history: History::default(), hour: 0, tracks: BTreeMap::new() }
    }

    /// What was learned of the hours that have passed.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Takes over what was learned before; what makes no sense is left out.
    pub fn adopt(&mut self, history: History) {
        self.history = history.sensible();
    }

    /// The same under other settings.
    pub(super) fn with(mut self, settings: OutlierSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Learns from the hour that has passed.
    fn turn_to(&mut self, hour: u8) {
        if hour == self.hour {
            return;
        }
        for (backend, tracks) in &mut self.tracks {
            for (track, source) in tracks.iter_mut().zip(Source::ALL) {
                track.end(self.history.entry(*backend, self.hour, source));
            }
        }
        self.hour = hour;
    }

    fn take(&mut self, period: &Period<'_>, source: Source) {
        for (backend, observation) in period.backends {
            let track = &mut self.tracks.entry(*backend).or_default()[source as usize];
            track.look(observation.latency(source), observation.tally(source));
        }
        let usual = |backend: &IpAddr| self.history.of(backend, self.hour, source);
        let both = || {
            let both = |backend: &IpAddr| {
                Some((&self.tracks.get(backend)?[source as usize], usual(backend)?))
            };
            period.backends.keys().filter_map(both)
        };
        let latencies = Figures::new(both().filter_map(|(track, usual)| track.change(usual)));
        let failures = Figures::new(both().filter_map(|(track, usual)| track.share(usual)));
        for (backend, observation) in period.backends {
            let (Some(tracks), Some(usual)) =
                (self.tracks.get_mut(backend), self.history.of(backend, self.hour, source))
            else {
                continue;
            };
            let (track, settings, now) = (&mut tracks[source as usize], &self.settings, period.now);
            track.judge_latency(observation.latency(source), usual, &latencies, settings, now);
            track.judge_failures(observation.tally(source), usual, &failures, settings, now);
        }
    }
}

impl Detector for Learned {
    fn name(&self) -> &'static str {
        LEARNED
    }

    fn observe(&mut self, period: &Period<'_>) -> Vec<Finding> {
        if period.hour_of_week >= HOURS {
            return Vec::new();
        }
        self.turn_to(period.hour_of_week);
        Source::ALL.into_iter().for_each(|source| self.take(period, source));
        let mut found = Vec::new();
        for backend in period.backends.keys() {
            let Some(tracks) = self.tracks.get(backend) else { continue };
            for (track, source) in tracks.iter().zip(Source::ALL) {
                if let Some(usual) = self.history.of(backend, self.hour, source) {
                    found.extend(track.findings(*backend, source, usual));
                }
            }
        }
        found
    }

    fn restart(&mut self, backend: &IpAddr) {
        self.tracks.get_mut(backend).into_iter().flatten().for_each(Track::restart);
    }

    fn known(&self) -> Vec<IpAddr> {
        let mut known: Vec<_> =
            self.history.backends().chain(self.tracks.keys()).copied().collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    fn forget(&mut self, backend: &IpAddr) {
        self.tracks.remove(backend);
        self.history.forget(backend);
    }
}
