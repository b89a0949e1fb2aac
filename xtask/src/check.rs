//! `cargo xtask check`: formatting and lints, on the host and for BPF.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lb_ebpf_build::{
    Toolchain,
    toolchain::{Compiler, TARGET},
};

use crate::{
    command::{cargo, run, target_directory, workspace},
    setup,
};

/// Check formatting and lints
#[derive(Args)]
pub(crate) struct Check {}

impl Check {
    /// Runs every check; the first that fails ends it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        run("formatting", cargo().args(["fmt", "--all", "--check"]))?;
        // Two runs: in one, features that user space turns on would reach the kernel's side.
        run(
            "clippy, host",
            cargo().args(["clippy", "--workspace", "--exclude", "lb-ebpf"]).args([
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        )?;
        let others = ["--features", "bpf-log", "--features", "next-layout"];
        for features in [&["--no-default-features"][..], &others[..2], &others[2..]] {
            run(
                &format!("lb-userspace {}", features.join(" ")),
                cargo().args(["check", "--package", "lb-userspace"]).args(features),
            )?;
        }
        run(
            "clippy, lb-ebpf as the host sees it",
            cargo().args(["clippy", "--package", "lb-ebpf", "--", "-D", "warnings"]),
        )?;
        clippy_for_bpf()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn clippy_for_bpf() -> Result<()> {
    let heading = format!("clippy, lb-ebpf for {TARGET}");
    let toolchain = Toolchain::find()?;
    match &toolchain.compiler {
        Compiler::Nightly(nightly) if nightly.has_clippy() => run(
            &heading,
            toolchain
                .cargo("clippy", &target_directory()?)
                .current_dir(workspace())
                .args(["--", "-D", "warnings"]),
        ),
        compiler => {
            eprintln!("== {heading}: SKIPPED, {compiler} has no clippy");
            Ok(())
        }
    }
}
