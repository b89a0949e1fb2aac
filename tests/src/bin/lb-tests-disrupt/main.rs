//! The disruption tool; see [`lb_tests::disruption`].

mod client;
mod flood;
mod scenario;
mod server;

use std::process::ExitCode;

use clap::Parser;

/// Holds connections through load balancers while everything around them changes.
#[derive(Parser)]
enum Verb {
    Run(scenario::Run),
    Chaos(scenario::Chaos),
    Client(client::Arguments),
    Server(server::Arguments),
    Flood(flood::Arguments),
}

fn main() -> anyhow::Result<ExitCode> {
    match Verb::parse() {
        Verb::Run(run) => run.run(),
        Verb::Chaos(chaos) => chaos.run(),
        Verb::Client(arguments) => client::run(arguments).map(|()| ExitCode::SUCCESS),
        Verb::Server(arguments) => server::run(arguments).map(|()| ExitCode::SUCCESS),
        Verb::Flood(arguments) => flood::run(arguments).map(|()| ExitCode::SUCCESS),
    }
}
