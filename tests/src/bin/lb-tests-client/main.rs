//! A client that accounts for each of its requests; see [`lb_tests::report`] for what it prints.

mod download;
mod exchange;
mod http;
mod ledger;
mod source;
mod udp;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// Sends requests to a service and reports what became of each.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// HTTP requests, each over a new connection, until SIGTERM.
    Http(LoadArguments),
    /// Numbered datagrams over 16 flows, until SIGTERM.
    Udp(LoadArguments),
    /// One long download.
    Download(DownloadArguments),
}

#[derive(clap::Args)]
struct LoadArguments {
    /// The service, `10.0.0.1:80` or `[fd00::1]:80`.
    #[arg(long)]
    target: SocketAddr,
    /// Requests per second. They are sent at this rate whether answers come or not.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Milliseconds between reports.
    #[arg(long, default_value_t = 250)]
    interval_ms: u64,
}

#[derive(clap::Args)]
struct DownloadArguments {
    /// The service, `10.0.0.1:80` or `[fd00::1]:80`.
    #[arg(long)]
    target: SocketAddr,
    /// How many bytes to load.
    #[arg(long)]
    bytes: u64,
    /// How long the server shall take to send them.
    #[arg(long)]
    seconds: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().mode {
        Mode::Http(arguments) => http::run(arguments).await,
        Mode::Udp(arguments) => udp::run(arguments).await,
        Mode::Download(arguments) => download::run(arguments).await,
    }
}
