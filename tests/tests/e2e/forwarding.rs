//! Requests reach the backends by weight, whatever the families and the way.

use std::{net::SocketAddr, ops::Range};

use lb_tests::{
    Download,
    address::{self, Family},
    report::DownloadLine,
};

use crate::site::{
    PATIENCE, PORT, Site,
    client::{ask_tcp, ask_udp, exchange, expect_spread, spread},
    config::{Config, Service},
    second_vip, vip, xdp,
};

/// be4 has half of the others' weight.
const WEIGHTS: [(&str, f64); 4] = [("be1", 100.0), ("be2", 100.0), ("be3", 100.0), ("be4", 50.0)];
const PORTS: Range<u16> = 20_000..20_300;

#[test]
fn tunnels_reach_all_backends_by_weight_in_all_combinations_of_families() {
    let mut services = Vec::new();
    for inner in Family::ALL {
        services.extend(pair(vip(inner), inner).map(Service::by_tunnel));
        services.extend(pair(second_vip(inner), other(inner)).map(Service::by_tunnel));
    }
    let site = Site::running(4, &Config::of(services));
    for inner in Family::ALL {
        expect_all_by_weight(&site, vip(inner));
        expect_all_by_weight(&site, second_vip(inner));
    }
}

#[test]
fn direct_routing_reaches_all_backends_by_weight_in_both_families() {
    let services = Family::ALL.into_iter().flat_map(|family| pair(vip(family), family));
    let site = Site::running(4, &Config::of(services));
    for family in Family::ALL {
        expect_all_by_weight(&site, vip(family));
    }
}

#[test]
fn generic_mode_carries_downloads_and_large_datagrams() {
    carries_downloads_and_large_datagrams("generic");
}

#[test]
fn native_mode_carries_downloads_and_large_datagrams() {
    carries_downloads_and_large_datagrams("native");
}

fn carries_downloads_and_large_datagrams(mode: &str) {
    let mut services = Vec::new();
    for family in Family::ALL {
        services.extend(pair(vip(family), family));
        services.extend(pair(second_vip(family), other(family)).map(Service::by_tunnel));
    }
    let config = Config::of(services).set("xdp_mode", &format!("\"{mode}\""));
    let site = Site::running(4, &config);
    let program = xdp::program(&site.topology.balancer, "eth0").expect("a program");
    assert_eq!(program.is_native, mode == "native");
    assert_eq!(site.json(&["status"])["interfaces"][0]["mode"], mode);
    for family in Family::ALL {
        for target in [vip(family), second_vip(family)] {
            let client = &site.topology.client;
            let download = Download::start(client, target, 2_000_000, 0).unwrap();
            let end = download.finish(PATIENCE).unwrap();
            let is_complete = matches!(end, DownloadLine::Complete { bytes: 2_000_000 });
            assert!(is_complete, "{target}: {end:?}");
            // As much as fits into the client's MTU of 1,500 bytes.
            let content = [0x5a; 1400];
            let echo = exchange(client, 30_000, target, &content).unwrap();
            assert!(echo.ends_with(&content), "{target}: {} bytes", echo.len());
        }
    }
}

#[test]
fn a_service_on_every_port_takes_what_no_other_service_takes() {
    let at = |port| SocketAddr::new(vip(Family::V4).ip(), port);
    let every_port = Service::tcp("all", at(0)).to(Family::V4, 1..=1);
    let one_port = Service::tcp("one", at(8081)).to(Family::V4, 2..=2);
    let site = Site::running(2, &Config::of([every_port, one_port]));
    let mut servers = Vec::new();
    for number in [1, 2] {
        for port in [8080, 8081] {
            servers.push(site.topology.start_server(number, port).unwrap());
        }
    }
    let who = |port| ask_tcp(&site.topology.client, 20_000, at(port)).unwrap();
    assert_eq!(who(PORT), "be1");
    assert_eq!(who(8080), "be1");
    assert_eq!(who(8081), "be2");
    // It is a TCP service: UDP is not for it and must not reach a backend.
    ask_udp(&site.topology.client, 20_000, at(PORT)).expect_err("no service");
    let metrics = site.metrics();
    assert!(metrics.sum("lb_service_packets_total", &[("service", "all")]) > 0);
}

/// A TCP and a UDP service with one address, with backends of this family.
fn pair(vip: SocketAddr, backends: Family) -> [Service; 2] {
    let name = |protocol| format!("{protocol}-{}", vip.ip()).replace(':', "-");
    let services = [Service::tcp(&name("tcp"), vip), Service::udp(&name("udp"), vip)];
    services.map(|service| {
        let service = service.to(backends, 1..=3);
        service.weighted(address::backend(backends, 4), 50)
    })
}

fn other(family: Family) -> Family {
    match family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    }
}

#[track_caller]
fn expect_all_by_weight(site: &Site, target: SocketAddr) {
    let client = &site.topology.client;
    let answers = spread(PORTS, |port| ask_tcp(client, port, target));
    expect_spread(&answers, &WEIGHTS);
    let answers = spread(PORTS, |port| ask_udp(client, port, target));
    expect_spread(&answers, &WEIGHTS);
}
