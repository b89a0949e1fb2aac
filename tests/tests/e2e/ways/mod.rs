//! Backends in unusual places, and ways to them that change under traffic.

mod gateway;
mod local;
mod neighbour;
mod redirect;

use std::{net::SocketAddr, time::Duration};

use lb_tests::{Load, address::Family, report::Interval};

use crate::site::{Site, config::Service};

/// The promise for what the kernel is told of: connections go on within it.
const PROMISE: Duration = Duration::from_secs(1);

/// Both modes of the program.
const MODES: [&str; 2] = ["native", "generic"];

/// A TCP and a UDP service with one address, without backends.
fn pair(target: SocketAddr) -> [Service; 2] {
    let name = |protocol| format!("{protocol}-{}", target.ip()).replace(':', "-");
    [Service::tcp(&name("tcp"), target), Service::udp(&name("udp"), target)]
}

/// Numbered datagrams in both families, each of which is echoed or lost.
fn datagrams(site: &Site, target: fn(Family) -> SocketAddr) -> Vec<Load> {
    let load = |family| Load::udp(&site.topology.client, target(family), 400).unwrap();
    let loads: Vec<Load> = Family::ALL.into_iter().map(load).collect();
    for load in &loads {
        crate::site::client::watch(load, 0, 50);
    }
    loads
}

/// Time from `change` to the start of the last datagram that was lost after it; zero if none was.
fn time_of_loss(all: &Interval, change: u64) -> Duration {
    let lost = all.failed.iter().filter(|failure| failure.started_ms >= change);
    let last = lost.map(|failure| failure.started_ms - change + 1).max();
    Duration::from_millis(last.unwrap_or(0))
}

/// The most datagrams that one flow has lost.
fn most_lost(all: &Interval) -> usize {
    let of_flow = |flow| all.failed.iter().filter(|failure| failure.local == flow).count();
    all.failed.iter().map(|failure| of_flow(failure.local)).max().unwrap_or(0)
}
