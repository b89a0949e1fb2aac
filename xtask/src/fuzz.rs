//! `cargo xtask fuzz`: random input for as long as one likes.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    command::{cargo, run},
    setup,
};

/// Compare the program in the kernel with its host build on random packets
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
}

impl Fuzz {
    /// Runs the differential tests at another length. The last line counts packets, configurations
    /// and mismatches.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        let What::Diff { packets, seed } = self.what;
        let mut command = cargo();
        command.args(["test", "-p", "lb-tests", "--test", "differential"]);
        command.env("LB_TEST_PACKETS", packets.to_string());
        if let Some(seed) = seed {
            command.env("LB_TEST_SEED", seed.to_string());
        }
        run("kernel against host", &mut command)?;
        Ok(ExitCode::SUCCESS)
    }
}
