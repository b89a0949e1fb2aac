//! `cargo xtask simulate`: the control core through years of failures.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    command::{cargo, run, target_directory},
    setup,
};

/// Drive the control core through years of failures by chance, and look at what must hold
#[derive(Args)]
pub(crate) struct Simulate {
    /// How many seeds; each is a story of its own
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Break this of the control core on purpose, to see that it is noticed: damping,
    /// ejection-limit, fall, panic or uplink
    #[arg(long, value_name = "PART")]
    broken: Option<String>,
    /// Tell the first seed's story line by line, instead of all
    #[arg(long)]
    tell: bool,
}

impl Simulate {
    /// Prepares and builds what is missing, and becomes the simulator.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut simulator = self.prepare()?;
        Err(simulator.exec()).context("starting the simulator")
    }

    /// Runs it as a part of the tests.
    pub(crate) fn test(seeds: u64) -> Result<()> {
        let simulate = Self { seeds, from: 0, broken: None, tell: false };
        run("years of failures, simulated", &mut simulate.prepare()?)
    }

    fn prepare(&self) -> Result<Command> {
        setup::ensure()?;
        let mut build = cargo();
        build.args(["build", "--package", "lb-tests", "--bin", "lb-tests-simulate"]);
        run("building the simulator", &mut build)?;
        let mut simulator = Command::new(target_directory()?.join("debug/lb-tests-simulate"));
        simulator.args(["--seeds", &self.seeds.to_string(), "--from", &self.from.to_string()]);
        if let Some(part) = &self.broken {
            simulator.args(["--broken", part]);
        }
        if self.tell {
            simulator.arg("--tell");
        }
        Ok(simulator)
    }
}
