//! `lb-tests-bench`: measures, prints a table, writes JSON. Started by `cargo xtask bench`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use lb_tests::bench;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Nanoseconds a packet costs, as ratios to the least that a packet needs.
    Packet {
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Runs of each case; the median counts.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Packets in one run.
        #[arg(long, default_value_t = 1_000_000)]
        packets: u32,
    },
}

fn main() -> ExitCode {
    let What::Packet { json, runs, packets } = Arguments::parse().what;
    match bench::packet(runs, packets, json.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
