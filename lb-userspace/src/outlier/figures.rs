//! Small statistics.

/// The middle of what is sorted, or the mean of the two in the middle; `None` of nothing.
pub(super) fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// The median; `None` of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    middle(&values)
}

/// One figure of each backend, for comparing each with the others.
pub(super) struct Figures {
    sorted: Vec<f64>,
}

impl Figures {
    pub(super) fn new(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { sorted }
    }

    /// How many there are beside one of them.
    pub(super) fn others(&self) -> usize {
        self.sorted.len().saturating_sub(1)
    }

    /// The median of all but one, which is among them; `None` if it is alone.
    pub(super) fn median_without(&self, own: f64) -> Option<f64> {
        let rank = self.sorted.partition_point(|value| value.total_cmp(&own).is_lt());
        let at = |index: usize| self.sorted[index + usize::from(index >= rank)];
        let (count, half) = (self.others(), self.others() / 2);
        match count {
            0 => None,
            odd if odd % 2 == 1 => Some(at(half)),
            _ => Some((at(half - 1) + at(half)) / 2.0),
        }
    }

    /// The same, 0 at least and 0 if it is alone: what the others have in common, as far as it
    /// excuses a backend.
    pub(super) fn common_without(&self, own: f64) -> f64 {
        self.median_without(own).unwrap_or_default().max(0.0)
    }

    /// The median distance of the others from `centre`, scaled to be the standard deviation of a
    /// normal distribution.
    ///
    /// Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974).
    pub(super) fn deviation_without(&self, own: f64, centre: f64) -> f64 {
        let mut distances: Vec<f64> =
            self.sorted.iter().map(|value| (value - centre).abs()).collect();
        let rank = self.sorted.partition_point(|value| value.total_cmp(&own).is_lt());
        distances.remove(rank);
        1.4826 * median(distances).unwrap_or_default()
    }
}

/// How unlikely it is that so large a share of `attempts` fails if each fails with probability
/// `usual`: the natural logarithm of one in how many, at least.
///
/// Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58 (1963),
/// theorem 1. It holds for every number of attempts, which a normal approximation does not.
pub(super) fn surprise(attempts: f64, share: f64, usual: f64) -> f64 {
    if share <= usual {
        return 0.0;
    }
    let part = |of: f64, to: f64| if of > 0.0 { of * (of / to).ln() } else { 0.0 };
    attempts * (part(share, usual) + part(1.0 - share, 1.0 - usual))
}

/// What share of a mean a new value has after `count` others: as much as each of them at first,
/// and always at least one of `memory`.
pub(super) fn share_of_new(count: u32, memory: f64) -> f64 {
    1.0 / (f64::from(count) + 1.0).min(memory)
}

/// Mean and variance of what came lately, weighted exponentially.
///
/// Finch, "Incremental calculation of weighted mean and variance" (2009), section 9.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moments {
    pub(super) count: u32,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

impl Moments {
    /// Takes in a value that has this share of the mean.
    pub(super) fn add(&mut self, value: f64, share: f64) {
        self.count = self.count.saturating_add(1);
        let step = share * (value - self.mean);
        self.variance = (1.0 - share) * (self.variance + step * (value - self.mean));
        self.mean += step;
    }
}

/// The share of attempts that failed lately, weighted exponentially over periods with attempts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    pub(super) count: u32,
    failures: f64,
    attempts: f64,
}

impl Rate {
    /// Takes in a period that has this share of the means.
    pub(super) fn add(&mut self, failures: f64, attempts: f64, share: f64) {
        self.count = self.count.saturating_add(1);
        self.failures += share * (failures - self.failures);
        self.attempts += share * (attempts - self.attempts);
    }

    /// Takes in a period of what is now: of `memory` periods, or more until `enough` attempts have
    /// a part in it, since a single one is nothing to go by.
    pub(super) fn add_lately(&mut self, failures: f64, attempts: f64, memory: f64, enough: f64) {
        let least = (attempts / enough).min(1.0 / memory);
        self.add(failures, attempts, least.max(share_of_new(self.count, f64::INFINITY)));
    }

    /// 0 to 1; 0 before the first attempt.
    pub(super) fn share(&self) -> f64 {
        if self.attempts > 0.0 { (self.failures / self.attempts).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Seconds, as people read them.
pub(super) fn milliseconds(seconds: f64) -> String {
    let digits = if seconds < 0.01 { 2 } else { usize::from(seconds < 0.1) };
    format!("{:.digits$} ms", seconds * 1000.0)
}

/// A share, as people read it.
pub(super) fn percent(share: f64) -> String {
    let digits = usize::from(share > 0.0 && share < 0.0995);
    format!("{:.digits$} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_by_hand() {
        let figures = Figures::new([4.0, 1.0, 100.0, 2.0].into_iter());
        assert_eq!(figures.median_without(100.0), Some(2.0));
        assert_eq!(figures.median_without(1.0), Some(4.0));
        // 1, 2 and 4 are 1, 0 and 2 away from 2.
        assert_eq!(figures.deviation_without(100.0, 2.0), 1.4826);
        assert_eq!(Figures::new([1.0].into_iter()).median_without(1.0), None);
        assert_eq!(Figures::new([-1.0, 3.0].into_iter()).common_without(3.0), 0.0);
    }

    /// Against what Python's `math` says: `10 * (.5 * log(.5 / .01) + .5 * log(.5 / .99))`.
    #[test]
    fn surprise_by_hand() {
        assert!((surprise(10.0, 0.5, 0.01) - 16.144_631).abs() < 1e-5);
        // All of n at p is p^n, which the bound meets.
        assert!((surprise(8.0, 1.0, 0.1) - 18.420_681).abs() < 1e-5);
        assert_eq!(surprise(1e9, 0.3, 0.4), 0.0);
    }

    #[test]
    fn moments_by_hand() {
        let mut moments = Moments::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            moments.add(value, share_of_new(moments.count, 100.0));
        }
        assert!((moments.mean - 5.0).abs() < 1e-12 && (moments.variance - 4.0).abs() < 1e-12);
        // From then on the newest has a hundredth.
        (0..92).for_each(|_| moments.add(5.0, share_of_new(moments.count, 100.0)));
        moments.add(105.0, share_of_new(moments.count, 100.0));
        assert!((moments.mean - 6.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn the_median_of_the_others(values in prop::collection::vec(-9_i32..9, 1..12)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let figures = Figures::new(values.iter().copied());
            for (index, own) in values.iter().enumerate() {
                let mut others = values.clone();
                others.remove(index);
                prop_assert_eq!(figures.median_without(*own), median(others));
            }
        }
    }
}
