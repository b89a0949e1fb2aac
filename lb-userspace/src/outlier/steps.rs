//! From how much worse a backend does to how much of its weight stays.

use std::net::IpAddr;

use super::{Finding, Verdict};
use crate::model::OutlierSettings;

/// How long a backend must do better before it takes a step back, in milliseconds.
const BACK_AFTER: u64 = 30_000;

/// The step at which weight alone does not help any more.
const LAST: u8 = 4;

/// Where a backend stands between usual and unbearable, in four steps. It steps up at once, by as
/// many as it takes, and back one at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Steps {
    step: u8,
    better_since: Option<u64>,
}

impl Steps {
    /// Takes in how many quarters of the way to unbearable it has gone, and whether that is sure.
    /// Half a quarter lies between a step up and the same step back.
    pub(super) fn take(&mut self, quarters: f64, sure: Sure, now: u64) {
        let reached = quarters.clamp(0.0, f64::from(LAST)) as u8;
        if reached > self.step && sure == Sure::Yes {
            *self = Self { step: reached, better_since: None };
        } else if self.step > 0 && quarters < f64::from(self.step) - 0.5 {
            let since = *self.better_since.get_or_insert(now);
            if now.saturating_sub(since) >= BACK_AFTER {
                *self = Self { step: self.step - 1, better_since: Some(now) };
            }
        } else {
            self.better_since = None;
        }
    }

    /// Whether anything is held against the backend.
    pub(super) const fn is_up(self) -> bool {
        self.step > 0
    }

    /// What should be done: nothing on no step, less weight on each, and on the last one ejection
    /// as well, if that is possible.
    pub(super) fn findings(
        self,
        backend: IpAddr,
        detector: &'static str,
        evidence: String,
    ) -> impl Iterator<Item = Finding> {
        let percent = [100, 75, 50, 25, 25][usize::from(self.step.min(LAST))];
        let lighten = self.is_up().then_some(Verdict::Lighten { percent });
        let eject = (self.step >= LAST).then_some(Verdict::Eject);
        let finding =
            move |verdict| Finding { backend, detector, verdict, evidence: evidence.clone() };
        [eject, lighten].into_iter().flatten().map(finding)
    }
}

/// Whether a change is more than chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    Yes,
    No,
}

impl Sure {
    pub(super) const fn when(is_sure: bool) -> Self {
        if is_sure { Self::Yes } else { Self::No }
    }
}

/// How many quarters of the way to unbearable a latency has gone, by ratio: with a factor of 3 one
/// at 1.32 times the usual, two at 1.73, three at 2.28 and four at 3. In seconds.
pub(super) fn latency_quarters(latency: f64, usual: f64, settings: &OutlierSettings) -> f64 {
    let factor = match settings.latency_factor {
        0 => OutlierSettings::USUAL.latency_factor,
        factor => factor.max(110),
    };
    if latency - usual < settings.latency_least.as_secs_f64() {
        return 0.0;
    }
    4.0 * (latency / usual).ln() / (f64::from(factor) / 100.0).ln()
}

/// The same for a share of failures, by difference: with a failure rate of 50 % one at 12.5 % more
/// than usual, four at 50 % more.
pub(super) fn failure_quarters(share: f64, usual: f64, settings: &OutlierSettings) -> f64 {
    4.0 * (share - usual) / unbearable(settings)
}

/// The share of failures that is unbearable.
pub(super) fn unbearable(settings: &OutlierSettings) -> f64 {
    let percent = match settings.failure_rate {
        0 => OutlierSettings::USUAL.failure_rate,
        percent => percent,
    };
    f64::from(percent) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percents(steps: Steps) -> Vec<Option<u8>> {
        let percent = |finding: Finding| match finding.verdict {
            Verdict::Lighten { percent } => Some(percent),
            Verdict::Eject => None,
        };
        let backend = IpAddr::from([10, 0, 0, 1]);
        steps.findings(backend, "drift", String::new()).map(percent).collect()
    }

    #[test]
    fn steps_up_at_once_and_back_one_at_a_time() {
        let mut steps = Steps::default();
        steps.take(3.9, Sure::No, 0);
        assert_eq!(percents(steps), []);
        steps.take(1.0, Sure::Yes, 1);
        assert_eq!(percents(steps), [Some(75)]);
        steps.take(3.9, Sure::Yes, 2);
        assert_eq!(percents(steps), [Some(25)]);
        steps.take(4.0, Sure::Yes, 3);
        assert_eq!(percents(steps), [None, Some(25)]);
        // A little better is not better.
        (0..100).for_each(|second| steps.take(3.6, Sure::Yes, 1000 * second));
        assert_eq!(percents(steps), [None, Some(25)]);
        let mut seen = Vec::new();
        for second in 100..250 {
            steps.take(0.0, Sure::No, 1000 * second);
            seen.push((second, percents(steps).pop().flatten()));
        }
        seen.dedup_by_key(|(_, percent)| *percent);
        // At 130 from ejection to 25 %, which is not seen here.
        assert_eq!(seen, [(100, Some(25)), (160, Some(50)), (190, Some(75)), (220, None)]);
    }

    #[test]
    fn a_relapse_begins_the_wait_anew() {
        let mut steps = Steps::default();
        steps.take(1.0, Sure::Yes, 0);
        for second in 0..1000 {
            let quarters = if second % 29 == 0 { 0.9 } else { 0.0 };
            steps.take(quarters, Sure::No, 1000 * second);
        }
        assert!(steps.is_up());
    }

    #[test]
    fn quarters_by_hand() {
        let settings = OutlierSettings::USUAL;
        let of = |ratio: f64| latency_quarters(0.1 * ratio, 0.1, &settings);
        assert!((of(3.0) - 4.0).abs() < 1e-9 && (of(3_f64.sqrt()) - 2.0).abs() < 1e-9);
        assert_eq!(latency_quarters(0.006, 0.0011, &settings), 0.0, "less than 5 ms apart");
        assert!(latency_quarters(0.0061, 0.001, &settings) > 4.0);
        assert!((failure_quarters(0.26, 0.01, &settings) - 2.0).abs() < 1e-9);
    }
}
