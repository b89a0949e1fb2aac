//! The test network, to play in: builds it, says how to get in, and keeps it until Ctrl-C.

use clap::Parser;
use lb_tests::{Plan, Topology, address, address::Family};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Builds the test network with servers on port 80 of the backends, and keeps it until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// How many backends there are.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=80))]
    backends: u8,
    /// How many services' addresses the backends hold.
    #[arg(long, default_value_t = 1)]
    services: u8,
}

fn main() -> anyhow::Result<()> {
    let Arguments { backends, services } = Arguments::parse();
    // Shells have what they start in the background ignore Ctrl-C.
    // SAFETY: the default action runs no code of ours.
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl)? };
    let topology = Topology::new(Plan { backends, services })?;
    let _servers = topology
        .backends()
        .map(|(number, _)| topology.start_server(number, 80))
        .collect::<Result<Vec<_>, _>>()?;
    let [v4, v6] = Family::ALL.map(|family| address::service(family, 1));
    println!("Services for the balancer: {v4} and {v6}, port 80. A shell in a host:");
    let backends = topology.backends.iter();
    for host in [&topology.client, &topology.router, &topology.balancer].into_iter().chain(backends)
    {
        println!("  {:9} nsenter -n -m -t {}", host.name(), host.pid());
    }
    println!(
        "Ctrl-C ends everything. A shell begins in /: go to the checkout, where target/debug has lbd and lbctl."
    );
    // The kernel takes all hosts down when this process dies: no handler is needed.
    loop {
        std::thread::park();
    }
}
