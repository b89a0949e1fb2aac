//! The cost of a packet, measured by repeated test runs of the driver programs.
//!
//! A case's programs run in turns, so that a drift of the machine touches all of them. *Net* is
//! minus the driver alone; ratios are to the floor's net in the same family.

mod cases;
mod checks;
mod harness;
mod health;
mod report;
mod tables;

use std::path::Path;

use anyhow::Context as _;

pub use cases::{Case, Family, Kind, Proto};
pub use checks::{Checks, answer, checks};
use harness::Harness;
pub use health::{Health, health};
use report::{Report, Row};
pub use tables::{Plan, tables};

/// Measures every case, prints the table and writes `json`, if asked.
pub fn packet(runs: usize, packets: u32, json: Option<&Path>) -> anyhow::Result<()> {
    harness::stay_on_one_cpu();
    let mut harness = Harness::load().context("loading the benchmark's programs")?;
    let mut report = Report::default();
    for case in [Family::Ipv4, Family::Ipv6].into_iter().flat_map(cases::of) {
        report::progress(&case);
        let measured = harness.measure(&case, runs, packets)?;
        report.rows.push(Row::new(case, measured));
    }
    report.summarise();
    report.print();
    if let Some(path) = json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
