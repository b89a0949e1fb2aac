//! `cargo xtask test`: everything that decides whether a change is good.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::{
    check,
    command::{cargo, run},
    setup,
    simulate::Simulate,
};

/// Stories that are told each time.
const SEEDS: u64 = 10_000;

/// Run every test: formatting, lints, unit, packet and end-to-end tests
#[derive(Args)]
pub(crate) struct Test {
    /// What to test; everything, if nothing is named.
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// Arguments of the test programs, as in `cargo xtask test packet -- drain`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tier {
    /// Formatting and lints.
    Check,
    /// Tests beside the code, and of registries and netlink with the real thing.
    Unit,
    /// Packets through the programs in the kernel, and against the host build of the same core.
    Packet,
    /// The control core through years of failures.
    Simulation,
    /// Clients, load balancer and backends in namespaces.
    Netns,
}

impl Tier {
    const ALL: [Self; 5] = [Self::Check, Self::Unit, Self::Packet, Self::Simulation, Self::Netns];
}

impl Test {
    /// Runs the tiers in their order; the first that fails ends it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        setup::ensure()?;
        for tier in Tier::ALL {
            if self.tiers.is_empty() || self.tiers.contains(&tier) {
                self.run_tier(tier)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn run_tier(&self, tier: Tier) -> Result<()> {
        match tier {
            Tier::Check => check::Check {}.run().map(drop),
            Tier::Unit => self.cargo_test(
                "unit tests",
                &["--workspace", "--exclude", "lb-ebpf", "--exclude", "lb-tests"],
            ),
            Tier::Packet => self.cargo_test(
                "packet tests",
                &[
                    "-p",
                    "lb-tests",
                    "--lib",
                    "--bins",
                    "--test",
                    "golden",
                    "--test",
                    "decap",
                    "--test",
                    "differential",
                    "--test",
                    "corpus",
                    "--test",
                    "verifier_budget",
                ],
            ),
            Tier::Simulation => {
                Simulate::test(SEEDS)?;
                self.cargo_test(
                    "what is broken is noticed",
                    &["-p", "lb-tests", "--test", "simulation"],
                )
            }
            Tier::Netns => {
                // The tests start the daemon and the command line as users do.
                run(
                    "building lbd and lbctl",
                    cargo().args(["build", "-p", "lb-userspace", "-p", "lb-tests", "--bins"]),
                )?;
                let next = ["--features", "next-layout", "--bin", "lbd-next-layout"];
                run(
                    "building lbd of the next version, which upgrades and downgrades are tested with",
                    cargo().args(["build", "-p", "lb-userspace"]).args(next),
                )?;
                self.cargo_test(
                    "end-to-end tests",
                    &["-p", "lb-tests", "--test", "rig", "--test", "e2e"],
                )
            }
        }
    }

    fn cargo_test(&self, heading: &str, selection: &[&str]) -> Result<()> {
        let mut command = cargo();
        command.arg("test").args(selection).arg("--").args(&self.arguments);
        run(heading, &mut command)
    }
}
