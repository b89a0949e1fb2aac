//! `cargo xtask demo`: builds lb and the test rig, and shows lb at work on real traffic.
//!
//! The demo itself is a program of the tests crate, because it needs what xtask must not depend
//! on: the rig, and through it the compiled objects.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    command::{cargo, run, target_directory},
    setup,
};

/// Show lb at work in network namespaces of this machine, and leave it clean; as root
#[derive(Args)]
pub(crate) struct Demo {
    /// Say nothing; exit code 0 if everything went as promised, else tell what did not and exit
    /// with 1
    #[arg(long)]
    check: bool,
    /// How packets are sent to the backends: by rewriting the frame, in a tunnel, or one after
    /// the other
    #[arg(long, value_parser = ["l2", "ipip", "all"], default_value = "all")]
    forward: String,
}

impl Demo {
    /// Prepares and builds what is missing, and becomes the demo.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        self.build()?;
        let mut demo = Command::new(target_directory()?.join("debug/lb-tests-demo"));
        demo.args(["--forward", &self.forward]);
        if self.check {
            demo.arg("--check");
        }
        // The demo takes this process's place: signals reach it however they are sent, and the
        // kernel ends with it everything that it has started.
        Err(demo.exec()).context("cannot start the demo")
    }

    fn build(&self) -> Result<()> {
        let mut build = cargo();
        build.args(["build", "--bins", "--package", "lb-userspace", "--package", "lb-tests"]);
        if !self.check {
            return run("building lb and the demo", &mut build);
        }
        let status = build.arg("--quiet").status().context("cannot start cargo")?;
        ensure!(status.success(), "lb cannot be built ({status}), see above");
        Ok(())
    }
}
