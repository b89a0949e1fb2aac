//! The drift of a share of failures.

use std::net::IpAddr;

use super::{DRIFT, ENOUGH, LATELY, LEAST, share_of_new};
use crate::{
    model::OutlierSettings,
    outlier::{
        Finding, Tally,
        alarm::{Alarm, bounded, failures_speak},
        figures::{Figures, Rate, percent},
        observation::Source,
        steps::{failure_quarters, unbearable},
    },
};

/// One backend's attempts of one kind, and how many fail.
#[derive(Clone, Debug, Default)]
pub(super) struct FailureDrift {
    usual: Rate,
    lately: Rate,
    /// What was usual for it or for the others, whichever was more, when it was last judged.
    excused: f64,
    alarm: Alarm,
}

impl FailureDrift {
    pub(super) fn look(&mut self, tally: Tally) {
        if tally.attempts > 0 {
            let (failures, attempts) = (f64::from(tally.failures), f64::from(tally.attempts));
            self.lately.add_lately(failures, attempts, LATELY, ENOUGH);
        }
    }

    /// The share of failures at present; `None` if it is not known yet what is usual.
    pub(super) fn share(&self) -> Option<f64> {
        (self.usual.count >= LEAST).then(|| self.lately.share())
    }

    pub(super) fn judge(
        &mut self,
        tally: Tally,
        all: &Figures,
        settings: &OutlierSettings,
        now: u64,
    ) {
        if tally.attempts == 0 {
            self.alarm.idle(now);
            return;
        }
        let (failures, attempts) = (f64::from(tally.failures), f64::from(tally.attempts));
        if let Some(share) = self.share()
            && let Some(others) = all.median_without(share)
        {
            self.excused = bounded(self.usual.share().max(others));
            let more = unbearable(settings) / 4.0;
            let speaks = failures_speak(failures, attempts, self.excused, more);
            let quarters = failure_quarters(share, self.excused, settings);
            self.alarm.take(speaks, quarters, now);
        }
        let share = share_of_new(self.usual.count, &self.alarm);
        self.usual.add(failures, attempts, share);
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
        format!(
            "{} of its {} fail lately, at most {} are usual for it and the others",
            percent(self.lately.share()),
            source.attempts(),
            percent(self.excused)
        )
    }

    pub(super) fn restart(&mut self) {
        self.lately = Rate::default();
        self.alarm = Alarm::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlier::Verdict;

    fn run(drift: &mut FailureDrift, failures: u32, others: f64, seconds: std::ops::Range<u64>) {
        let tally = Tally { attempts: 100, failures };
        for second in seconds {
            drift.look(tally);
            let all = Figures::new([others; 3].into_iter().chain(drift.share()));
            drift.judge(tally, &all, &OutlierSettings::USUAL, 1000 * second);
        }
    }

    fn verdicts(drift: &FailureDrift) -> Vec<Verdict> {
        let findings = drift.findings(IpAddr::from([10, 0, 0, 1]), Source::Traffic);
        findings.map(|finding| finding.verdict).collect()
    }

    #[test]
    fn a_part_of_the_way_costs_a_part_of_the_weight() {
        let mut drift = FailureDrift::default();
        run(&mut drift, 1, 0.01, 0..400);
        run(&mut drift, 8, 0.01, 400..500);
        assert_eq!(verdicts(&drift), []);
        run(&mut drift, 20, 0.01, 500..520);
        assert_eq!(verdicts(&drift), [Verdict::Lighten { percent: 75 }]);
        run(&mut drift, 30, 0.01, 520..540);
        assert_eq!(verdicts(&drift), [Verdict::Lighten { percent: 50 }]);
        run(&mut drift, 60, 0.01, 540..560);
        assert_eq!(verdicts(&drift), [Verdict::Eject, Verdict::Lighten { percent: 25 }]);
    }

    #[test]
    fn what_all_have_in_common_is_excused() {
        let mut drift = FailureDrift::default();
        run(&mut drift, 1, 0.01, 0..400);
        run(&mut drift, 40, 0.4, 400..500);
        assert_eq!(verdicts(&drift), []);
    }

    /// A failure of one attempt adds `ln(.135 / .01)`, which is 2.60: eight make it sure.
    #[test]
    fn a_sum_of_single_attempts_by_hand() {
        let mut drift = FailureDrift::default();
        run(&mut drift, 0, 0.0, 0..400);
        for second in 0..8 {
            assert!(!drift.alarm.is_on(), "{second}");
            let tally = Tally { attempts: 1, failures: 1 };
            drift.look(tally);
            let all = Figures::new([0.0; 3].into_iter().chain(drift.share()));
            drift.judge(tally, &all, &OutlierSettings::USUAL, second);
        }
        assert!(drift.alarm.is_on());
    }
}
