//! `lb-tests-bench`: measures, prints a table, writes JSON. Started by `cargo xtask bench`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

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
    /// Lateness, processor time and evenness of thousands of health checks.
    Checks {
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Backends that are checked.
        #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u16).range(1..))]
        targets: u16,
        /// Milliseconds from one check of a backend to the next.
        #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
        interval: u64,
        /// Seconds that are measured.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
        seconds: u64,
    },
    /// How soon a backend that is cut off gets no new flow, and how soon it is back.
    Health {
        /// Also write the figures as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// How many times a backend is cut off.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        trials: u16,
    },
    /// Answers the checks: the measuring process starts it.
    #[command(hide = true)]
    AnswerChecks,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Packet { json, runs, packets } => bench::packet(runs, packets, json.as_deref()),
        What::Tables { json, runs, services } => {
            bench::tables(bench::Plan { runs, services }, json.as_deref())
        }
        What::Checks { json, targets, interval, seconds } => {
            let interval = Duration::from_millis(interval);
            let time = Duration::from_secs(seconds);
            bench::checks(bench::Checks { targets, interval, time }, json.as_deref())
        }
        What::Health { json, trials } => bench::health(bench::Health { trials }, json.as_deref()),
        What::AnswerChecks => bench::answer(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
