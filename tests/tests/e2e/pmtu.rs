//! Paths that take smaller packets than their ends: who is too big is told so, and by whom.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
    time::Duration,
};

use lb_tests::{
    Download, Host, Mtus,
    address::{self, Family},
    report::DownloadLine,
};
use serde_json::Value;

use crate::site::{
    Site,
    client::source,
    config::{Config, Service},
    second::{self, Second},
    second_vip,
    upload::upload,
    vip,
};

/// No room for a tunnel's headers.
const TIGHT: Mtus = Mtus { client: 1500, servers: 1500 };

/// A TCP and a UDP service with one address, with two backends of this family.
fn pair(target: SocketAddr, backends: Family, forward: &'static str) -> [Service; 2] {
    let name = |protocol| format!("{protocol}-{}", target.ip()).replace(':', "-");
    let services = [Service::tcp(&name("tcp"), target), Service::udp(&name("udp"), target)];
    services.map(|service| service.to(backends, 1..=2).forwarded(forward))
}

/// The services of both families, each with backends of both.
fn services(forward: &'static str) -> Vec<Service> {
    cases().into_iter().flat_map(|(target, backends)| pair(target, backends, forward)).collect()
}

fn cases() -> [(SocketAddr, Family); 4] {
    let [v4, v6] = Family::ALL;
    [(vip(v4), v4), (vip(v6), v6), (second_vip(v4), v6), (second_vip(v6), v4)]
}

fn config(services: Vec<Service>, mode: &str) -> Config {
    Config::of(services).set("xdp_mode", &format!("\"{mode}\""))
}

/// What a host knows of the path to an address: the largest packet that reaches it.
pub(crate) fn known_mtu(host: &Host, to: IpAddr) -> Option<u64> {
    let text = host.run(&["ip", "-json", "route", "get", &to.to_string()]).unwrap();
    let routes: Value = serde_json::from_str(&text).unwrap();
    routes[0]["metrics"][0]["mtu"].as_u64()
}

/// Sends one datagram with don't-fragment set, in an IP packet of this size, and returns who
/// echoes it.
fn probe(site: &Site, port: u16, target: SocketAddr, size: usize) -> io::Result<Vec<u8>> {
    let headers = if target.is_ipv4() { 28 } else { 48 };
    let socket = site.topology.client.enter(|| UdpSocket::bind(source(target, port)))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect(target)?;
    socket.send(&vec![0x5a; size - headers])?;
    let mut echo = vec![0; 2000];
    let length = socket.recv(&mut echo)?;
    echo.truncate(length);
    Ok(echo)
}

#[test]
fn who_is_too_big_for_the_tunnel_is_told_what_fits() {
    for (forward, mode) in [("ipip", "native"), ("gue", "native"), ("ipip", "generic")] {
        let site = Site::with_mtus(2, TIGHT).run(&config(services(forward), mode));
        let client = &site.topology.client;
        for (target, backends) in cases() {
            let gue = if forward == "gue" { 12 } else { 0 };
            let fits = 1500 - gue - if backends == Family::V4 { 20 } else { 40 };
            let case = format!("{mode}, {forward}, {target}");
            // Without knowing better, the client sends it whole, and is told.
            let error = probe(&site, 20_000, target, fits + 1).expect_err(&case);
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "{case}: {error}");
            assert_eq!(known_mtu(client, target.ip()), Some(fits as u64), "{case}");
            // What fits gets through, as does what the client now cuts into fragments itself.
            for size in [fits, fits - 1, 1480, 1490, 1500] {
                let echo = probe(&site, 20_001, target, size);
                assert!(echo.is_ok(), "{case}, {size} bytes: {echo:?}");
            }
        }
        let told = site.metrics().sum("lb_xdp_packets_total", &[("reason", "too_big_told")]);
        assert_eq!(told, 4, "{mode}, {forward}: one packet each");
    }
}

/// A hundred megabytes in either direction, without anybody clamping anything.
#[test]
fn tcp_finds_the_size_that_fits_the_tunnel() {
    const BYTES: u64 = 100_000_000;
    let longest = Duration::from_secs(120);
    let site = Site::with_mtus(2, TIGHT).run(&config(services("gue"), "native"));
    let client = &site.topology.client;
    for ((target, _), bytes) in cases().into_iter().zip([BYTES, BYTES / 10, BYTES / 10, BYTES]) {
        let took =
            upload(client, target, bytes).unwrap_or_else(|error| panic!("{target}: {error}"));
        println!("{target}: {bytes} bytes up in {took:?}");
        let download = Download::start(client, target, bytes, 0).unwrap();
        let end = download.finish(longest).unwrap();
        assert!(matches!(end, DownloadLine::Complete { .. }), "{target}: {end:?}");
    }
}

/// The client's network becomes narrower: the router in between tells the service's address, and
/// the balancer passes it on to the backend that is meant.
#[test]
fn a_path_that_becomes_narrower_stops_no_download() {
    for (forward, mode) in [("l2", "native"), ("ipip", "native"), ("gue", "generic")] {
        let site = Site::new(2).run(&config(narrow_services(forward), mode));
        downloads_go_on(&site, || ());
    }
}

/// The router's word arrives at a balancer that has never seen the connection.
#[test]
fn another_balancer_knows_whose_connection_an_error_is_about() {
    for forward in ["l2", "gue"] {
        let config = config(narrow_services(forward), "native");
        let site = Site::new(2).run(&config);
        let second = Second::start(&site, &config);
        if forward != "l2" {
            site.open_tunnels_from(&[address::balancer, address::second_balancer]);
        }
        downloads_go_on(&site, || second::route_services_to(&site, address::second_balancer));
        let labels = [("service", "tcp-10.200.0.1")];
        assert!(second.metrics().sum("lb_service_packets_total", &labels) > 0, "{forward}");
    }
}

fn narrow_services(forward: &'static str) -> Vec<Service> {
    Family::ALL.into_iter().flat_map(|family| pair(vip(family), family, forward)).collect()
}

/// Starts downloads, changes the way of what clients send, and makes the client's network narrower:
/// every download goes on, since every backend hears of it.
fn downloads_go_on(site: &Site, change: impl FnOnce()) {
    const NARROW: u64 = 1400;
    const FLOWS: Range<u8> = 0..6;
    const SECONDS: u32 = 4;
    /// The promise: resumed within 3 s.
    const STALL: Duration = Duration::from_secs(3);

    let (client, router) = (&site.topology.client, &site.topology.router);
    // Each error counts, not only the first in a second.
    router.sysctl("ipv4/icmp_ratelimit", "0").unwrap();
    router.sysctl("ipv6/icmp/ratelimit", "0").unwrap();
    let start = |family| Download::start(client, vip(family), 1_600_000, SECONDS).unwrap();
    let downloads: Vec<Download> =
        Family::ALL.into_iter().flat_map(|family| FLOWS.map(move |_| start(family))).collect();
    change();
    router.ip(&format!("link set client mtu {NARROW}")).unwrap();
    let mut owners: Vec<String> = downloads.iter().map(|load| load.backend().to_owned()).collect();
    owners.sort();
    owners.dedup();
    for download in downloads {
        let end = download.finish(Duration::from_secs(u64::from(SECONDS)) + STALL).unwrap();
        assert!(matches!(end, DownloadLine::Complete { .. }), "{end:?}");
    }
    for (number, backend) in site.topology.backends() {
        if owners.contains(&format!("be{number}")) {
            for family in Family::ALL {
                let known = known_mtu(backend, address::client(family));
                println!("be{number}: {family} {known:?}");
                assert!(known.is_none_or(|known| known == NARROW), "be{number}: {known:?}");
            }
        }
    }
    let told = |family| {
        let backends = site.topology.backends();
        let known = |(_, host): (u8, &Host)| known_mtu(host, address::client(family));
        backends.filter_map(known).count()
    };
    assert!(Family::ALL.into_iter().all(|family| told(family) > 0), "{owners:?}");
}
