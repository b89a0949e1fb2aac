//! The figures as text and as JSON.

use std::time::Duration;

use serde::Serialize;

use super::{BACK_WITHIN, CHECK, OUT_WITHIN};

/// A backend was cut off and came back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// From the cut to the last new flow.
    pub(super) out: Duration,
    /// From the return to the first new flow.
    pub(super) back: Duration,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// From the cut to the last new flow.
    out: Figures,
    /// From the return to the first new flow.
    back: Figures,
}

#[derive(Debug, Serialize)]
struct Figures {
    trials: usize,
    /// Trials that took no longer than promised.
    kept: usize,
    promised_ms: f64,
    least_ms: f64,
    median_ms: f64,
    most_ms: f64,
    all_ms: Vec<f64>,
}

impl Report {
    /// Of one trial at least.
    pub(super) fn new(trials: &[Trial]) -> Self {
        Self {
            out: Figures::new(trials.iter().map(|trial| trial.out), OUT_WITHIN),
            back: Figures::new(trials.iter().map(|trial| trial.back), BACK_WITHIN),
        }
    }

    pub(super) fn print(&self) {
        println!("{}\n", CHECK.replace('\n', ", "));
        let head = ["milliseconds", "least", "median", "most", "promised", "kept"];
        println!(
            "{:<32}{:>8}{:>8}{:>8}{:>10}{:>10}",
            head[0], head[1], head[2], head[3], head[4], head[5]
        );
        for (what, figures) in [
            ("cut off, to the last new flow", &self.out),
            ("back, to the first new flow", &self.back),
        ] {
            let Figures { trials, kept, promised_ms, least_ms, median_ms, most_ms, .. } = figures;
            println!(
                "{what:<32}{least_ms:>8.0}{median_ms:>8.0}{most_ms:>8.0}{promised_ms:>10.0}{:>10}",
                format!("{kept} of {trials}")
            );
        }
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl Figures {
    fn new(times: impl Iterator<Item = Duration>, promised: Duration) -> Self {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        let at = |place: usize| times.get(place).copied().map(millis).unwrap_or_default();
        Self {
            trials: times.len(),
            kept: times.partition_point(|time| *time <= promised),
            promised_ms: millis(promised),
            least_ms: at(0),
            median_ms: at(times.len() / 2),
            most_ms: at(times.len().saturating_sub(1)),
            all_ms: times.iter().copied().map(millis).collect(),
        }
    }
}

/// With a digit behind the point.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_kept() {
        let times = [3700, 10, 3600].map(Duration::from_millis);
        let figures = Figures::new(times.into_iter(), OUT_WITHIN);
        assert_eq!((figures.trials, figures.kept), (3, 2));
        let found = [figures.least_ms, figures.median_ms, figures.most_ms];
        assert_eq!(found, [10.0, 3600.0, 3700.0]);
    }
}
