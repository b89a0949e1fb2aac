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
    /// Time, evenness and movement of slot tables, and when packets see them.
    Tables {
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Runs of each case; the median counts.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// Services that are loaded at once, at most 10,922.
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=10_922))]
        services: u16,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Packet { json, runs, packets } => bench::packet(runs, packets, json.as_deref()),
        What::Tables { json, runs, services } => {
            bench::tables(bench::Plan { runs, services }, json.as_deref())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
