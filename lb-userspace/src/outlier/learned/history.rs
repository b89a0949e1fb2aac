//! What was learned of the hours of the week, as it is kept over restarts.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::HOURS;
use crate::outlier::{alarm::deviation, observation::Source};

/// How many visits of an hour weigh more than chance: the newest has a quarter at least.
const MEMORY: u32 = 4;

/// Visits without which nothing is known of an hour.
pub(super) const LEAST_VISITS: u32 = 3;

/// What was learned of all backends of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History(BTreeMap<IpAddr, BTreeMap<u8, Hour>>);

/// One hour of the week of one backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hour {
    checks: UsualHour,
    traffic: UsualHour,
}

/// What is usual at an hour, from one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct UsualHour {
    /// Logarithms of seconds.
    pub(super) latency: Usual,
    /// Shares, 0 to 1.
    pub(super) failures: Usual,
}

/// What visits of an hour had in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Usual {
    /// How many there were.
    visits: u32,
    /// The mean of their means, newer ones weighing more.
    pub(super) mean: f64,
    /// The variance between them.
    between: f64,
    /// The mean of the variances within them.
    within: f64,
    /// The mean of the variances of what is now within them.
    level: f64,
}

impl Usual {
    /// Takes in the mean and the variance of a visit. One that was unlike the others counts as the
    /// most unlike one that is still credible.
    pub(super) fn add(&mut self, mean: f64, variance: f64, level: f64, floor: f64) {
        let (mean, variance, level) = if self.is_known() {
            let far = 3.0 * (self.between + floor * floor).sqrt();
            let most = 4.0 * (self.within + floor * floor);
            (mean.clamp(self.mean - far, self.mean + far), variance.min(most), level.min(most))
        } else {
            (mean, variance, level)
        };
        self.visits = self.visits.saturating_add(1);
        let share = 1.0 / f64::from(self.visits.min(MEMORY));
        let step = share * (mean - self.mean);
        self.between = (1.0 - share) * (self.between + step * (mean - self.mean));
        self.mean += step;
        self.within += share * (variance - self.within);
        self.level += share * (level - self.level);
    }

    /// Whether it was visited often enough.
    pub(super) const fn is_known(&self) -> bool {
        self.visits >= LEAST_VISITS
    }

    /// The most that visits differ by from their mean, short of rare ones.
    pub(super) fn spread(&self) -> f64 {
        3.0 * self.between.sqrt()
    }

    /// The standard deviation within a visit, and at least this.
    pub(super) fn deviation(&self, floor: f64) -> f64 {
        deviation(self.within, self.level, floor)
    }

    fn is_sensible(&self) -> bool {
        let is_small = |value: f64| (0.0..=1000.0).contains(&value);
        (-100.0..=100.0).contains(&self.mean)
            && is_small(self.between)
            && is_small(self.within)
            && is_small(self.level)
    }
}

impl History {
    /// What is usual for a backend at an hour; `None` if it was not visited.
    pub(super) fn of(&self, backend: &IpAddr, hour: u8, source: Source) -> Option<&UsualHour> {
        let hour = self.0.get(backend)?.get(&hour)?;
        Some(match source {
            Source::Checks => &hour.checks,
            Source::Traffic => &hour.traffic,
        })
    }

    pub(super) fn entry(&mut self, backend: IpAddr, hour: u8, source: Source) -> &mut UsualHour {
        let hour = self.0.entry(backend).or_default().entry(hour).or_default();
        match source {
            Source::Checks => &mut hour.checks,
            Source::Traffic => &mut hour.traffic,
        }
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &IpAddr> {
        self.0.keys()
    }

    pub(super) fn forget(&mut self, backend: &IpAddr) {
        self.0.remove(backend);
    }

    /// The same without what no visit can have left: a file may hold anything.
    pub(super) fn sensible(mut self) -> Self {
        for hours in self.0.values_mut() {
            hours.retain(|hour, usual| {
                let all = [usual.checks, usual.traffic];
                let all = all.iter().flat_map(|from| [from.latency, from.failures]);
                *hour < HOURS && all.into_iter().all(|usual| usual.is_sensible())
            });
        }
        self.0.retain(|_, hours| !hours.is_empty());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn visits_by_hand() {
        let mut usual = Usual::default();
        for mean in [1.0, 2.0, 3.0] {
            assert!(!usual.is_known());
            usual.add(mean, 0.3, 0.0, 0.1);
        }
        assert!(usual.is_known());
        let near = |one: f64, other: f64| (one - other).abs() < 1e-12;
        assert!(near(usual.mean, 2.0) && near(usual.between, 2.0 / 3.0));
        assert!(near(usual.within, 0.3));
        // An absurd one counts as 2 + 3 * sqrt(2/3 + .01), and has a quarter.
        usual.add(1e9, 1e9, 0.0, 0.1);
        assert!(near(usual.mean, 2.0 + 0.75 * (2.0 / 3.0 + 0.01_f64).sqrt()));
        assert!(near(usual.within, 0.3 + (4.0 * 0.31 - 0.3) / 4.0));
    }

    #[test]
    fn is_kept_over_a_restart_but_for_nonsense() {
        let mut history = History::default();
        for hour in [3, 167] {
            history.entry(BACKEND, hour, Source::Traffic).latency.add(-4.5, 0.25, 0.01, 0.1);
        }
        let text = serde_json::to_string(&history).expect("written");
        let back: History = serde_json::from_str(&text).expect("read");
        assert_eq!(back.sensible(), history);

        let mut nonsense = history.clone();
        nonsense.entry(BACKEND, 168, Source::Checks);
        nonsense.entry(BACKEND, 4, Source::Checks).failures.between = -1.0;
        nonsense.entry(BACKEND, 5, Source::Traffic).latency.mean = f64::NAN;
        nonsense.entry(BACKEND, 6, Source::Traffic).latency.within = 1e300;
        assert_eq!(nonsense.sensible(), history);
    }
}
