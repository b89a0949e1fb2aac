//! The figures as text and as JSON.

use std::time::Duration;

use anyhow::Context as _;
use lb_userspace::health::Lateness;
use serde::Serialize;

use super::{Checks, Heard};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    targets: u16,
    interval_ms: f64,
    seconds: f64,
    results_per_second: f64,
    failed: u64,
    not_made: u64,
    /// These three are at most so much: bounds of a histogram.
    late_p50_ms: f64,
    late_p99_ms: f64,
    late_max_ms: f64,
    /// Processor time of the checker's process over time.
    cores: f64,
    /// Most checks that began within 100 ms, over the mean.
    burst: f64,
    descriptors: usize,
}

impl Report {
    pub(super) fn new(
        plan: Checks,
        lateness: &Lateness,
        not_made: u64,
        mut heard: Heard,
        elapsed: Duration,
        cpu: Duration,
    ) -> anyhow::Result<Self> {
        const WINDOW: Duration = Duration::from_millis(100);
        let most = heard.most_within(WINDOW);
        let seconds = elapsed.as_secs_f64();
        let rate = heard.begun.len() as f64 / seconds;
        let millis = |share| lateness.quantile(share).map(|seconds| seconds * 1e3);
        let late = |share| millis(share).context("no check was made");
        Ok(Self {
            targets: plan.targets,
            interval_ms: plan.interval.as_secs_f64() * 1e3,
            seconds: round(seconds),
            results_per_second: round(rate + heard.failed as f64 / seconds),
            failed: heard.failed,
            not_made,
            late_p50_ms: late(0.5)?,
            late_p99_ms: late(0.99)?,
            late_max_ms: late(1.0)?,
            cores: round(cpu.as_secs_f64() / seconds),
            burst: round(most as f64 / (rate * WINDOW.as_secs_f64())),
            descriptors: heard.descriptors,
        })
    }

    pub(super) fn print(&self) {
        let Self { targets, interval_ms, seconds, failed, not_made, .. } = self;
        println!("{targets} backends, each checked every {interval_ms} ms, for {seconds} s\n");
        let line = |what: &str, value: String| println!("{what:<40}{value:>12}");
        line("results a second", format!("{:.0}", self.results_per_second));
        line("failed, not made", format!("{failed}, {not_made}"));
        line("late by at most, half of them", format!("{} ms", self.late_p50_ms));
        line("late by at most, 99 of 100", format!("{} ms", self.late_p99_ms));
        line("late by at most, all", format!("{} ms", self.late_max_ms));
        line("cores of the checker's process", format!("{:.2}", self.cores));
        line("greatest 100 ms over the mean", format!("{:.2}", self.burst));
        line("open file descriptors, most", self.descriptors.to_string());
    }

    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
