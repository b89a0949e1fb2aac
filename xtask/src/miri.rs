//! `cargo xtask miri`: the packet core's tests where every access to memory is checked.

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use lb_ebpf_build::toolchain::{NIGHTLY, ROLLING_NIGHTLY};

use crate::command::{run, target_directory, workspace};

/// Run the packet core's tests under miri, which finds undefined behaviour
#[derive(Args)]
pub(crate) struct Miri {
    /// Arguments of the test programs, as in `cargo xtask miri -- decap`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Miri {
    /// Runs the tests of `lb-common`, its host module included.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let channel = channel()?;
        let mut command = Command::new("rustup");
        command.args(["run", channel, "cargo", "miri", "test", "--package", "lb-common"]);
        command.args(["--features", "host", "--lib", "--tests", "--"]).args(&self.arguments);
        command.current_dir(workspace());
        // What the cargo that runs us has set is for another compiler.
        for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS"] {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_DIR", target_directory()?.join("miri"));
        // Miri is some hundred times slower than the machine: a few cases of each property show
        // what it looks for, since that does not depend on values.
        command.env("PROPTEST_CASES", "4").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true");
        // Proptest reads these variables and asks for the current folder.
        command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
        run(&format!("packet core under miri ({channel})"), &mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A nightly with miri: one that has it already, or else one that gets it from rustup.
fn channel() -> Result<&'static str> {
    let channels = [NIGHTLY, ROLLING_NIGHTLY];
    if let Some(channel) = channels.into_iter().find(|channel| has(channel, "miri")) {
        return Ok(channel);
    }
    let Some(channel) = channels.into_iter().find(|channel| has(channel, "rustc")) else {
        bail!(
            "miri needs rustup's nightly compiler, which is not installed: run \
             `rustup toolchain install {NIGHTLY} --component miri --component rust-src`"
        );
    };
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "miri", "rust-src", "--toolchain", channel]);
    run(&format!("miri for {channel}"), &mut rustup).with_context(|| {
        format!("{channel} has no miri and rustup cannot fetch it, so the core was not checked")
    })?;
    Ok(channel)
}

/// Whether a toolchain is installed and has a program.
fn has(channel: &str, program: &str) -> bool {
    let mut command = Command::new("rustup");
    command.args(["run", channel, program, "--version"]).env_remove("RUSTUP_TOOLCHAIN");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
