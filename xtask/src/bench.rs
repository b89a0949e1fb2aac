//! `cargo xtask bench`: measures, never judges.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    command::{cargo, run},
    setup,
};

/// Measure the packet path or the slot tables
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

impl Bench {
    /// Builds the benchmark for speed and runs it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        let (verb, step, options) = match self.what {
            What::Packet(options) => ("packet", "packet path", options),
            What::Tables(options) => ("tables", "slot tables", options),
        };
        let mut command = cargo();
        command.args(["run", "--quiet", "--release", "-p", "lb-tests", "--bin", "lb-tests-bench"]);
        command.args(["--", verb, "--runs", &options.runs.to_string()]);
        if let Some(json) = options.json {
            // The command runs in the workspace, whoever calls it from where.
            command.arg("--json").arg(std::path::absolute(json)?);
        }
        run(step, &mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}
