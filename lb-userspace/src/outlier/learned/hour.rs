//! The present hour of one backend.

use std::net::IpAddr;

use super::{
    LEARNED,
    history::{Usual, UsualHour},
};
use crate::{
    model::OutlierSettings,
    outlier::{
        Finding, Tally,
        alarm::{Alarm, LATELY, bounded, failures_speak, is_far, latency_speaks},
        figures::{Figures, Moments, Rate, milliseconds, percent, share_of_new},
        observation::Source,
        steps::{failure_quarters, latency_quarters, unbearable},
    },
};

/// Periods with a value without which an hour was not visited.
const LEAST: u32 = 60;

/// Periods with a value that the share of failures that is now is made of.
const LATELY_FAILED: f64 = 10.0;

/// Attempts that the share of failures that is now is made of at least.
const ENOUGH: f64 = 20.0;

/// Latencies that differ by less than 15 % are alike, however steady they were.
const LATENCY_FLOOR: f64 = 0.15;

/// Shares of failures that differ by less than this are alike.
const FAILURE_FLOOR: f64 = 0.02;

/// What was seen of a backend from one source in this hour, and what speaks against it.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    latency: Moments,
    latency_lately: Option<f64>,
    latency_level: Moments,
    latency_excused: f64,
    latency_alarm: Alarm,
    failures: Rate,
    failures_lately: Rate,
    failures_excused: f64,
    failures_alarm: Alarm,
}

impl Track {
    pub(super) fn look(&mut self, latency: Option<f64>, tally: Tally) {
        if let Some(value) = latency.map(f64::ln) {
            self.latency.add(value, share_of_new(self.latency.count, f64::INFINITY));
            let lately = self.latency_lately.get_or_insert(value);
            *lately += (value - *lately) / LATELY;
            let share = share_of_new(self.latency_level.count, f64::INFINITY);
            self.latency_level.add(*lately, share);
        }
        if tally.attempts > 0 {
            let (failures, attempts) = (f64::from(tally.failures), f64::from(tally.attempts));
            let share = share_of_new(self.failures.count, f64::INFINITY);
            self.failures.add(failures, attempts, share);
            self.failures_lately.add_lately(failures, attempts, LATELY_FAILED, ENOUGH);
        }
    }

    /// The hour is over: what it was like is learned, if it was long enough.
    pub(super) fn end(&mut self, usual: &mut UsualHour) {
        if self.latency.count >= LEAST {
            let level = self.latency_level.variance;
            usual.latency.add(self.latency.mean, self.latency.variance, level, LATENCY_FLOOR);
        }
        if self.failures.count >= LEAST {
            usual.failures.add(self.failures.share(), 0.0, 0.0, FAILURE_FLOOR);
        }
        (self.latency, self.latency_level) = Default::default();
        self.failures = Rate::default();
    }

    /// How far the latency is from the most that is usual; `None` if that is not known.
    pub(super) fn change(&self, usual: &UsualHour) -> Option<f64> {
        self.latency_lately
            .filter(|_| usual.latency.is_known())
            .map(|now| now - top(&usual.latency))
    }

    /// The share of failures; `None` if it is not known what is usual.
    pub(super) fn share(&self, usual: &UsualHour) -> Option<f64> {
        let is_known = usual.failures.is_known() && self.failures_lately.count > 0;
        is_known.then(|| self.failures_lately.share())
    }

    pub(super) fn judge_latency(
        &mut self,
        latency: Option<f64>,
        usual: &UsualHour,
        all: &Figures,
        settings: &OutlierSettings,
        now: u64,
    ) {
        let (Some(value), Some(change)) = (latency.map(f64::ln), self.change(usual)) else {
            self.latency_alarm.idle(now);
            return;
        };
        let common = all.common_without(change);
        self.latency_excused = top(&usual.latency) + common;
        let lately = (top(&usual.latency) + change).exp();
        let deviation = usual.latency.deviation(LATENCY_FLOOR);
        let quarters = if is_far(change - common, deviation) {
            latency_quarters(lately, self.latency_excused.exp(), settings)
        } else {
            0.0
        };
        let speaks = latency_speaks(value, self.latency_excused, deviation);
        self.latency_alarm.take(speaks, quarters, now);
    }

    pub(super) fn judge_failures(
        &mut self,
        tally: Tally,
        usual: &UsualHour,
        all: &Figures,
        settings: &OutlierSettings,
        now: u64,
    ) {
        let Some(share) = self.share(usual).filter(|_| tally.attempts > 0) else {
            self.failures_alarm.idle(now);
            return;
        };
        let others = all.common_without(share);
        self.failures_excused = bounded(top(&usual.failures).max(others));
        let (failures, attempts) = (f64::from(tally.failures), f64::from(tally.attempts));
        let more = unbearable(settings) / 4.0;
        let speaks = failures_speak(failures, attempts, self.failures_excused, more);
        let quarters = failure_quarters(share, self.failures_excused, settings);
        self.failures_alarm.take(speaks, quarters, now);
    }

    pub(super) fn findings(
        &self,
        backend: IpAddr,
        source: Source,
        usual: &UsualHour,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.latency_alarm.steps().is_up() {
            let evidence = self.latency_evidence(source, usual);
            found.extend(self.latency_alarm.steps().findings(backend, LEARNED, evidence));
        }
        if self.failures_alarm.steps().is_up() {
            let evidence = self.failures_evidence(source);
            found.extend(self.failures_alarm.steps().findings(backend, LEARNED, evidence));
        }
        found
    }

    fn latency_evidence(&self, source: Source, usual: &UsualHour) -> String {
        let lately = self.latency_lately.unwrap_or(usual.latency.mean);
        let (now, mean) = (milliseconds(lately.exp()), milliseconds(usual.latency.mean.exp()));
        let most = milliseconds(self.latency_excused.exp());
        let take = source.take();
        format!("{take} {now}, {mean} and at most {most} are usual for it at this hour")
    }

    fn failures_evidence(&self, source: Source) -> String {
        format!(
            "{} of its {} fail lately, at most {} are usual for it at this hour, or for the others",
            percent(self.failures_lately.share()),
            source.attempts(),
            percent(self.failures_excused)
        )
    }

    pub(super) fn restart(&mut self) {
        let kept = Self {
            latency: self.latency,
            latency_level: self.latency_level,
            failures: self.failures,
            ..Self::default()
        };
        *self = kept;
    }
}

/// The most that is usual.
fn top(usual: &Usual) -> f64 {
    usual.mean + usual.spread()
}
