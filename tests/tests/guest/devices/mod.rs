//! Devices of the kernel around the balancer: VLANs, its own tunnels, bad networks.

mod network;
mod tunnel;
mod vlan;

use std::net::SocketAddr;

use lb_tests::{Download, address::Family, report::DownloadLine};

use crate::site::{
    PATIENCE, Site,
    client::{ask_tcp, ask_udp, spread},
    config::Service,
};

/// Enough that a backend without any is broken, not unlucky.
const REQUESTS: u16 = 40;

/// A TCP and a UDP service at one address, with two backends of this family.
fn pair(vip: SocketAddr, backends: Family) -> [Service; 2] {
    let name = |protocol| format!("{protocol}-{}", vip.ip()).replace(':', "-");
    let services = [Service::tcp(&name("tcp"), vip), Service::udp(&name("udp"), vip)];
    services.map(|service| service.to(backends, 1..=2))
}

/// Requests and a download must succeed, and both backends must have answered.
#[track_caller]
fn expect_service(site: &Site, target: SocketAddr) {
    let client = &site.topology.client;
    let ports = 20_000..20_000 + REQUESTS;
    for answers in [
        spread(ports.clone(), |port| ask_tcp(client, port, target)),
        spread(ports.clone(), |port| ask_udp(client, port, target)),
    ] {
        assert_eq!(answers.keys().collect::<Vec<_>>(), ["be1", "be2"], "{target}: {answers:?}");
    }
    expect_download(site, target, 300_000);
}

/// A download of so many bytes must arrive, byte for byte.
#[track_caller]
fn expect_download(site: &Site, target: SocketAddr, bytes: u64) {
    let download = Download::start(&site.topology.client, target, bytes, 0).unwrap();
    let end = download.finish(6 * PATIENCE).unwrap();
    let is_whole = matches!(end, DownloadLine::Complete { bytes: all } if all == bytes);
    assert!(is_whole, "{target}: {end:?}");
}
