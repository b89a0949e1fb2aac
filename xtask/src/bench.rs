//! `cargo xtask bench`: measures, never judges.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    command::{cargo, run},
    setup,
};

/// Measure the packet path, the slot tables, the health checks or what follows from them
#[derive(Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a packet costs, as ratios to the least that a packet needs
    Packet(Options),
    /// How long slot tables take, how even they are and what they move, beside Maglev's; when
    /// packets see a commit; ten thousand services
    Tables(Options),
    /// How late thousands of health checks begin, what they cost and how evenly they come
    Checks(Checks),
    /// How soon a backend that is cut off gets no new flow any more, and how soon it is back
    Health(Health),
}

#[derive(Args)]
struct Options {
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Runs of each case, of which the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

#[derive(Args)]
struct Checks {
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Backends that are checked
    #[arg(long, default_value_t = 5000)]
    targets: u16,
    /// Milliseconds from one check of a backend to the next
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    interval: u64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

#[derive(Args)]
struct Health {
    /// Also write the figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many times a backend is cut off
    #[arg(long, default_value_t = 20)]
    trials: u16,
}

impl Bench {
    /// Builds the benchmark for speed and runs it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        let (verb, step, options, json) = match self.what {
            What::Packet(options) => ("packet", "packet path", options.runs(), options.json),
            What::Tables(options) => ("tables", "slot tables", options.runs(), options.json),
            What::Checks(checks) => ("checks", "health checks", checks.plan(), checks.json),
            What::Health(health) => {
                build_programs()?;
                let trials = format!("--trials={}", health.trials);
                ("health", "cut off and back", vec![trials], health.json)
            }
        };
        let mut command = cargo();
        command.args(["run", "--quiet", "--release", "-p", "lb-tests", "--bin", "lb-tests-bench"]);
        command.args(["--", verb]).args(options);
        if let Some(json) = json {
            // The command runs in the workspace, whoever calls it from where.
            command.arg("--json").arg(std::path::absolute(json)?);
        }
        run(step, &mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The daemon and the command line beside the benchmark, for what measures them as they are.
fn build_programs() -> Result<()> {
    let step = "building lbd and lbctl";
    run(step, cargo().args(["build", "--release", "-p", "lb-userspace", "--bins"]))
}

impl Options {
    fn runs(&self) -> Vec<String> {
        vec!["--runs".to_owned(), self.runs.to_string()]
    }
}

impl Checks {
    fn plan(&self) -> Vec<String> {
        let Self { targets, interval, seconds, .. } = self;
        vec![
            format!("--targets={targets}"),
            format!("--interval={interval}"),
            format!("--seconds={seconds}"),
        ]
    }
}
