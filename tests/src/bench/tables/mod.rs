//! Slot tables: how long they take, how even they are, what they move, when packets see them.

mod compute;
mod kernel;
mod maglev;
mod pool;
mod report;

use std::path::Path;

use anyhow::Context as _;

use super::harness;
use report::Report;

/// Members and binary logarithms of the slots that are measured; `None` is the size that a service
/// gets by itself.
const SIZES: [(u16, Option<u8>); 7] = [
    (10, None),
    (100, None),
    (100, Some(18)),
    (1000, Some(16)),
    (1000, None),
    (1000, Some(20)),
    (10_000, None),
];
/// Members and slots of the services whose commits are measured.
const COMMITTED: [(u16, Option<u32>); 4] =
    [(10, None), (100, None), (1000, Some(1 << 16)), (1000, None)];

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Runs of each case, of which the median counts.
    pub runs: usize,
    /// Services that are loaded at once.
    pub services: u16,
}

/// Measures everything, prints the tables and writes `json`, if asked.
pub fn tables(plan: Plan, json: Option<&Path>) -> anyhow::Result<()> {
    harness::stay_on_one_cpu();
    let mut report = Report::default();
    for (members, bits) in SIZES {
        for weights in [pool::Weights::Equal, pool::Weights::Mixed] {
            report::progress(&format!("tables of {members} members"));
            report.tables.push(compute::measure(members, bits, weights, plan.runs));
        }
    }
    for (members, slots) in COMMITTED {
        report::progress(&format!("commits of {members} members"));
        let measured = kernel::visibility(members, slots, plan.runs.max(20));
        report.commits.push(measured.context("measuring commits")?);
    }
    report::progress(&format!("{} services", plan.services));
    report.many = Some(kernel::many(plan.services).context("loading many services")?);
    report::progress("");
    report.print();
    if let Some(path) = json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
