//! `cargo xtask chaos`: connections that must not break, while everything around them changes.

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    command::{cargo, run, target_directory},
    setup,
};

/// Hold connections while everything around them changes, by chance or as files say; as root
#[derive(Args)]
pub(crate) struct Chaos {
    /// Where chance begins; a failure names its seed
    #[arg(long, conflicts_with = "scenario")]
    seed: Option<u64>,
    /// How long
    #[arg(long, default_value_t = 5.0, conflicts_with = "scenario")]
    minutes: f64,
    /// How many connections
    #[arg(long, default_value_t = 2000, conflicts_with = "scenario")]
    connections: u32,
    /// How packets reach backends: l2, ipip, gue or nat, by chance if not said
    #[arg(long, value_name = "WAY", conflicts_with = "scenario")]
    forward: Option<String>,
    /// Leave this out of what happens by chance, such as flap; may be given more than once
    #[arg(long, value_name = "KIND", conflicts_with = "scenario")]
    without: Vec<String>,
    /// Run this scenario instead, such as tests/scenarios/drain.txt; may be given more than once
    #[arg(long, value_name = "FILE")]
    scenario: Vec<PathBuf>,
    /// Scenarios in their short version
    #[arg(long, requires = "scenario")]
    short: bool,
}

impl Chaos {
    /// Prepares and builds what is missing, and becomes the disruption tool.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        let mut build = cargo();
        build.args(["build", "--bins", "--package", "lb-userspace", "--package", "lb-tests"]);
        run("building lb and the disruption tool", &mut build)?;
        let next = ["--features", "next-layout", "--bin", "lbd-next-layout"];
        run(
            "building lbd of the next version, for upgrades and downgrades",
            cargo().args(["build", "-p", "lb-userspace"]).args(next),
        )?;
        let target = target_directory()?;
        let mut tool = Command::new(target.join("debug/lb-tests-disrupt"));
        if self.scenario.is_empty() {
            tool.args(["chaos", "--minutes", &self.minutes.to_string()]);
            tool.args(["--connections", &self.connections.to_string()]);
            tool.arg("--failures").arg(target.join("chaos"));
            if let Some(forward) = &self.forward {
                tool.args(["--forward", forward]);
            }
            for kind in &self.without {
                tool.args(["--without", kind]);
            }
            if let Some(seed) = self.seed {
                tool.args(["--seed", &seed.to_string()]);
            }
        } else {
            tool.arg("run").args(&self.scenario);
            if self.short {
                tool.arg("--short");
            }
        }
        // It takes this process's place: signals reach it however they are sent, and the kernel
        // ends with it everything that it has started.
        Err(tool.exec()).context("cannot start the disruption tool")
    }
}
