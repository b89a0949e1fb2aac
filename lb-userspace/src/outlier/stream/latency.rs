//! The drift of a latency.

use std::net::IpAddr;

use super::{DRIFT, LEAST, share_of_new};
use crate::{
    model::OutlierSettings,
    outlier::{
        Finding,
        alarm::{Alarm, LATELY, deviation, deviations, is_far, latency_speaks},
        figures::{Figures, Moments, milliseconds},
        observation::Source,
        steps::latency_quarters,
    },
};

/// Latencies that differ by less than a tenth are alike, however steady they were.
const FLOOR: f64 = 0.1;

/// One backend's latencies of one kind: their logarithms, since latencies differ by ratio.
#[derive(Clone, Debug, Default)]
pub(super) struct LatencyDrift {
    usual: Moments,
    lately: Option<f64>,
    /// How what is now varies.
    level: Moments,
    /// What the others have in common was taken off, when it was last judged.
    excused: f64,
    alarm: Alarm,
}

impl LatencyDrift {
    pub(super) fn look(&mut self, latency: Option<f64>) {
        if let Some(value) = latency.map(f64::ln) {
            let lately = self.lately.get_or_insert(value);
            *lately += (value - *lately) / LATELY;
        }
    }

    /// How far it is from what is usual for it; `None` if that is not known yet.
    pub(super) fn change(&self) -> Option<f64> {
        self.lately.filter(|_| self.usual.count >= LEAST).map(|lately| lately - self.usual.mean)
    }

    pub(super) fn judge(
        &mut self,
        latency: Option<f64>,
        all: &Figures,
        settings: &OutlierSettings,
        now: u64,
    ) {
        let Some(value) = latency.map(f64::ln) else {
            self.alarm.idle(now);
            return;
        };
        let share = share_of_new(self.usual.count, &self.alarm);
        let Some(change) = self.change() else {
            self.usual.add(value, share);
            self.level.add(self.lately.unwrap_or(value), share);
            return;
        };
        let deviation = deviation(self.usual.variance, self.level.variance, FLOOR);
        let lately = self.usual.mean + change;
        if all.others() > 0 {
            let common = all.common_without(change);
            self.excused = self.usual.mean + common;
            let quarters = if is_far(change - common, deviation) {
                latency_quarters(lately.exp(), self.excused.exp(), settings)
            } else {
                0.0
            };
            let speaks = latency_speaks(value, self.excused, deviation);
            self.alarm.take(speaks, quarters, now);
        }
        // One that takes forever once must not move what is usual.
        let tamed = self.usual.mean + deviation * deviations(value, self.usual.mean, deviation);
        self.usual.add(tamed, share);
        self.level.add(lately, share);
    }

    pub(super) fn findings(
        &self,
        backend: IpAddr,
        source: Source,
    ) -> impl Iterator<Item = Finding> {
        let is_up = self.alarm.steps().is_up();
        let evidence = if is_up { self.evidence(source) } else { String::new() };
        self.alarm.steps().findings(backend, DRIFT, evidence)
    }

    fn evidence(&self, source: Source) -> String {
        let lately = self.lately.unwrap_or(self.usual.mean);
        let (now, before) = (milliseconds(lately.exp()), milliseconds(self.usual.mean.exp()));
        let excused = self.excused - self.usual.mean;
        let take = source.take();
        let others = (100.0 * excused.exp_m1()).round();
        format!("{take} {now}, {before} are usual for it, the others take {others:+} %")
    }

    pub(super) fn restart(&mut self) {
        self.lately = None;
        self.alarm = Alarm::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlier::Verdict;

    fn run(drift: &mut LatencyDrift, latency: f64, others: &[f64], seconds: std::ops::Range<u64>) {
        for second in seconds {
            drift.look(Some(latency));
            let all = others.iter().copied().chain(drift.change());
            let all = Figures::new(all);
            drift.judge(Some(latency), &all, &OutlierSettings::USUAL, 1000 * second);
        }
    }

    fn verdicts(drift: &LatencyDrift) -> Vec<Verdict> {
        let findings = drift.findings(IpAddr::from([10, 0, 0, 1]), Source::Checks);
        findings.map(|finding| finding.verdict).collect()
    }

    #[test]
    fn what_all_have_in_common_is_excused() {
        let mut alone = LatencyDrift::default();
        run(&mut alone, 0.1, &[0.0; 3], 0..400);
        let mut together = alone.clone();
        run(&mut alone, 0.19, &[0.0; 3], 400..450);
        assert_eq!(verdicts(&alone), [Verdict::Lighten { percent: 50 }]);
        run(&mut together, 0.19, &[(1.9_f64).ln(); 3], 400..450);
        assert_eq!(verdicts(&together), []);
    }

    #[test]
    fn a_sum_of_a_change_by_hand() {
        let mut drift = LatencyDrift::default();
        run(&mut drift, 0.1, &[0.0; 3], 0..400);
        // Far more than three deviations of 10 %, so each second adds 3 - 1/2: 20 after eight.
        // What is now has gone 34 % of the way, which is 1.7 quarters of the way to three times.
        run(&mut drift, 0.4, &[0.0; 3], 400..407);
        assert_eq!(verdicts(&drift), []);
        run(&mut drift, 0.4, &[0.0; 3], 407..408);
        assert_eq!(verdicts(&drift), [Verdict::Lighten { percent: 75 }]);
    }

    #[test]
    fn what_stays_becomes_usual() {
        let mut drift = LatencyDrift::default();
        run(&mut drift, 0.1, &[0.0; 3], 0..2000);
        run(&mut drift, 0.2, &[0.0; 3], 2000..2100);
        assert_eq!(verdicts(&drift), [Verdict::Lighten { percent: 50 }]);
        run(&mut drift, 0.2, &[0.0; 3], 2100..40_000);
        assert_eq!(verdicts(&drift), []);
    }
}
