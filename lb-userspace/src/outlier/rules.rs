//! Outliers by fixed rules: failures in a row, the share of failures, and latency, the latter two
//! against the other backends.

mod latency;
mod window;

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Detector, Finding, Period, Tally, Verdict,
    figures::{Figures, Rate, milliseconds, percent, share_of_new, surprise},
    observation::Source,
};
use crate::model::OutlierSettings;
use latency::Recent;
use window::Window;

/// The word for failures in a row.
pub const CONSECUTIVE: &str = "consecutive-failures";
/// The word for a share of failures.
pub const RATE: &str = "failure-rate";
/// The word for latency against the others.
pub const LATENCY: &str = "latency";

/// Fewer others do not tell what latency is usual.
const OTHERS: usize = 3;

/// By how many of their own deviations a latency must differ from the others'.
const DEVIATIONS: f64 = 5.0;

/// How much a share of failures must surprise: it comes about by chance once in a billion times at
/// most.
const SURPRISE: f64 = 20.7;

/// Periods with attempts that say what share of failures is usual.
const MEMORY: f64 = 600.0;

/// The share of failures that surprises nobody.
const UNSURPRISING: f64 = 0.01;

/// Finds outliers by fixed rules.
#[derive(Clone, Debug)]
pub struct Rules {
    settings: OutlierSettings,
    backends: BTreeMap<IpAddr, [Track; 2]>,
}

/// What is known of one backend from one source.
#[derive(Clone, Debug, Default)]
struct Track {
    /// Attempts since the last one that did not fail; `None` before the first attempt.
    row: Option<u32>,
    window: Window,
    /// The share of failures over a longer time than the window.
    usual: Rate,
    recent: Recent,
}

impl Track {
    fn add_usual(&mut self, tally: Tally) {
        if tally.attempts > 0 {
            let share = share_of_new(self.usual.count, MEMORY);
            self.usual.add(f64::from(tally.failures), f64::from(tally.attempts), share);
        }
    }

    /// The share of failures that others are compared with: few attempts may have none by chance.
    fn share(&self) -> f64 {
        Counts::of(&self.window).share.max(self.usual.share())
    }
}

/// A finding, and how bad it is.
type Weighed = (f64, Finding);

impl Rules {
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

    fn take(&mut self, period: &Period<'_>) {
        for (backend, observation) in period.backends {
            let tracks = self.backends.entry(*backend).or_default();
            for (track, source) in tracks.iter_mut().zip(Source::ALL) {
                let tally = observation.tally(source);
                track.row = row(track.row, tally);
                track.window.add(tally, period.now, self.settings.failure_window);
                track.add_usual(tally);
                if let Some(latency) = observation.latency(source) {
                    track.recent.add(latency, period.now);
                }
            }
        }
    }

    /// What is known of those in this period, in their order.
    fn tracks(&self, period: &Period<'_>, source: Source) -> Vec<(IpAddr, &Track)> {
        let track =
            |backend: &IpAddr| Some((*backend, &self.backends.get(backend)?[source as usize]));
        period.backends.keys().filter_map(track).collect()
    }

    /// Failures in a row, unless at least half of the others' last attempts failed as well, or rows
    /// of this length come about by chance with as many failures as the others have.
    fn consecutive(&self, period: &Period<'_>, source: Source) -> Vec<Weighed> {
        let least = self.settings.consecutive_failures;
        if least == 0 {
            return Vec::new();
        }
        let tracks = self.tracks(period, source);
        if tracks.iter().all(|(_, track)| track.row < Some(least)) {
            return Vec::new();
        }
        let tried = || tracks.iter().filter(|(_, track)| track.row.is_some());
        let others = tried().count().saturating_sub(1);
        let failing = tried().filter(|(_, track)| track.row > Some(0)).count().saturating_sub(1);
        let shares = Figures::new(tried().map(|(_, track)| track.share()));
        let judge = |(backend, track): &(IpAddr, &Track)| {
            let row = track.row.filter(|row| *row >= least)?;
            let usual = shares.median_without(track.share())?;
            let is_chance = usual > UNSURPRISING && surprise(f64::from(row), 1.0, usual) < SURPRISE;
            let is_outlier = failing * 2 < others
                && !is_chance
                && period.backends[backend].tally(source).failures > 0;
            is_outlier
                .then(|| (f64::from(row), row_finding(*backend, row, (failing, others), source)))
        };
        tracks.iter().filter_map(judge).collect()
    }

    /// The share of failures, if it is at least twice what is usual among the others, and could not
    /// be chance.
    fn rate(&self, period: &Period<'_>, source: Source) -> Vec<Weighed> {
        if self.settings.failure_rate == 0 {
            return Vec::new();
        }
        let least = f64::from(self.settings.failure_rate) / 100.0;
        let enough = u64::from(self.settings.failure_attempts.max(1));
        let tracks: Vec<(IpAddr, &Track, Counts)> = self
            .tracks(period, source)
            .into_iter()
            .map(|(backend, track)| (backend, track, Counts::of(&track.window)))
            .filter(|(.., counts)| counts.attempts >= enough)
            .collect();
        if tracks.iter().all(|(.., counts)| counts.share < least) {
            return Vec::new();
        }
        let figures = Figures::new(tracks.iter().map(|(_, track, _)| track.share()));
        let judge = |(backend, track, counts): &(IpAddr, &Track, Counts)| {
            let usual = figures.median_without(track.share())?;
            let expected = usual.max(UNSURPRISING);
            let is_outlier = counts.share >= least
                && counts.share >= 2.0 * expected
                && surprise(counts.attempts as f64, counts.share, expected) >= SURPRISE
                && period.backends[backend].tally(source).failures > 0;
            is_outlier.then(|| (counts.share, self.rate_finding(*backend, counts, usual, source)))
        };
        tracks.iter().filter_map(judge).collect()
    }

    fn rate_finding(
        &self,
        backend: IpAddr,
        counts: &Counts,
        usual: f64,
        source: Source,
    ) -> Finding {
        let evidence = format!(
            "{} of {} {} failed in {}, {} is usual among the others",
            counts.failures,
            counts.attempts,
            source.attempts(),
            humantime::format_duration(self.settings.failure_window),
            percent(usual)
        );
        Finding { backend, detector: RATE, verdict: Verdict::Eject, evidence }
    }

    /// Latency, if it is too many times what is usual among the others, and further from it than
    /// they are.
    fn latency(&self, period: &Period<'_>, source: Source) -> Vec<Weighed> {
        if self.settings.latency_factor == 0 {
            return Vec::new();
        }
        let factor = f64::from(self.settings.latency_factor) / 100.0;
        let latencies: Vec<(IpAddr, f64)> = self
            .tracks(period, source)
            .into_iter()
            .filter_map(|(backend, track)| Some((backend, track.recent.median(period.now)?)))
            .collect();
        let figures = Figures::new(latencies.iter().map(|(_, latency)| *latency));
        if figures.others() < OTHERS {
            return Vec::new();
        }
        let judge = |(backend, latency): &(IpAddr, f64)| {
            period.backends[backend].latency(source)?;
            let usual = figures.median_without(*latency)?;
            let is_slow = *latency >= factor * usual
                && latency - usual >= self.settings.latency_least.as_secs_f64()
                && latency - usual >= DEVIATIONS * figures.deviation_without(*latency, usual);
            is_slow.then(|| {
                let finding = latency_finding(*backend, *latency, usual, source);
                (latency / usual, finding)
            })
        };
        latencies.iter().filter_map(judge).collect()
    }
}

impl Detector for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn observe(&mut self, period: &Period<'_>) -> Vec<Finding> {
        self.take(period);
        let both = |rule: fn(&Self, &Period<'_>, Source) -> Vec<Weighed>| {
            let mut found: Vec<Weighed> =
                Source::ALL.into_iter().flat_map(|source| rule(self, period, source)).collect();
            found.sort_by(|(one, _), (other, _)| other.total_cmp(one));
            found.into_iter().map(|(_, finding)| finding)
        };
        let rules = [Self::consecutive, Self::rate, Self::latency];
        rules.into_iter().flat_map(both).collect()
    }

    fn restart(&mut self, backend: &IpAddr) {
        self.backends.remove(backend);
    }

    fn known(&self) -> Vec<IpAddr> {
        self.backends.keys().copied().collect()
    }

    fn forget(&mut self, backend: &IpAddr) {
        self.backends.remove(backend);
    }
}

/// Periods in which all attempts failed add up, any success begins anew.
fn row(row: Option<u32>, tally: Tally) -> Option<u32> {
    match tally {
        Tally { attempts: 0, .. } => row,
        Tally { attempts, failures } if failures == attempts => {
            Some(row.unwrap_or_default().saturating_add(failures))
        }
        _ => Some(0),
    }
}

/// What a window holds.
struct Counts {
    attempts: u64,
    failures: u64,
    share: f64,
}

impl Counts {
    fn of(window: &Window) -> Self {
        let (attempts, failures) = window.sum();
        Self { attempts, failures, share: failures as f64 / attempts.max(1) as f64 }
    }
}

fn row_finding(
    backend: IpAddr,
    row: u32,
    (failing, others): (usize, usize),
    source: Source,
) -> Finding {
    let evidence = format!(
        "{row} {} in a row failed, the last ones of {failing} of {others} others did",
        source.attempts()
    );
    Finding { backend, detector: CONSECUTIVE, verdict: Verdict::Eject, evidence }
}

fn latency_finding(backend: IpAddr, latency: f64, usual: f64, source: Source) -> Finding {
    let evidence = format!(
        "{} {}, {:.1} times the {} that are usual among the others",
        source.take(),
        milliseconds(latency),
        latency / usual,
        milliseconds(usual)
    );
    Finding { backend, detector: LATENCY, verdict: Verdict::Eject, evidence }
}
