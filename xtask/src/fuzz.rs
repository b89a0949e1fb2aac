//! `cargo xtask fuzz`: random input for as long as one likes.

mod host;
mod progress;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    command::{cargo, run},
    setup,
};

/// Search for packets that the packet core does not stand, or on which its two builds differ
#[derive(Args)]
pub(crate) struct Fuzz {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Random packets through random tables, in the kernel and on the host
    Diff {
        /// How many packets
        #[arg(long, default_value_t = 10_000_000)]
        packets: u64,
        /// Where to begin; a failure names its seed
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Packets and tables that reach ever more of the core's code, on the host; what they find is
    /// kept in tests/corpus
    Host(host::Host),
}

impl Fuzz {
    /// Runs one of the searches. The last line counts what was tried and what was found.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        match self.what {
            What::Diff { packets, seed } => diff(packets, seed),
            What::Host(host) => host.run(),
        }
    }
}

/// Runs the differential tests at another length.
fn diff(packets: u64, seed: Option<u64>) -> Result<ExitCode> {
    let mut command = cargo();
    command.args(["test", "-p", "lb-tests", "--test", "differential"]);
    command.env("LB_TEST_PACKETS", packets.to_string());
    if let Some(seed) = seed {
        command.env("LB_TEST_SEED", seed.to_string());
    }
    run("kernel against host", &mut command)?;
    Ok(ExitCode::SUCCESS)
}
