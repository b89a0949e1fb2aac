//! Translation: backends at ports of their own that know nothing of the services' addresses.

use std::{
    collections::BTreeSet,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use lb_tests::{
    Download, Host, Server,
    address::{self, Family},
    report::DownloadLine,
    waiting,
};

use crate::site::{
    PATIENCE, Site,
    client::{Connection, ask_tcp, ask_udp, exchange, expect_spread, spread},
    config::{Config, Service},
    upload::upload,
    vip, xdp,
};

/// Where the servers listen, at the backends' own addresses only.
const OWN_PORT: u16 = 8080;
const BYTES: u64 = 2_000_000;

/// A network whose backends have nothing but their own addresses, and their servers.
fn site(backends: u8) -> (Site, Vec<Server>) {
    let mut site = Site::new(backends);
    let mut servers = Vec::new();
    for number in 1..=backends {
        site.kill_server(number);
        let host = site.topology.backend(number);
        for family in Family::ALL {
            for service in [1, 2] {
                let vip = address::service(family, service);
                host.ip(&format!("address del {vip}/{} dev lo", family.bits())).unwrap();
            }
        }
        let own = Family::ALL.map(|family| address::backend(family, number));
        let listen = own.map(|address| SocketAddr::new(address, OWN_PORT));
        servers.push(Server::start(host, listen).unwrap());
    }
    (site, servers)
}

/// Web and echo in both families, checked where the backends listen.
fn config(backends: u8) -> Config {
    Config::of(Family::ALL.into_iter().flat_map(|family| {
        let web = Service::tcp(&format!("web-{family}"), vip(family));
        let echo = Service::udp(&format!("echo-{family}"), vip(family));
        [web.checked(), echo]
            .map(|service| service.by_translation(OWN_PORT).to(family, 1..=backends))
    }))
}

#[test]
fn native_mode_translates_both_ways() {
    translates_both_ways("native");
}

#[test]
fn generic_mode_translates_both_ways() {
    translates_both_ways("generic");
}

fn translates_both_ways(mode: &str) {
    let (mut site, _servers) = site(3);
    site.start(&config(3).set("xdp_mode", &format!("\"{mode}\"")));
    site.until_all_are("up");
    let program = xdp::program(&site.topology.balancer, "eth0").expect("a program");
    assert_eq!(program.is_native, mode == "native");
    let client = &site.topology.client;
    let weights = [("be1", 1.0), ("be2", 1.0), ("be3", 1.0)];
    for family in Family::ALL {
        let target = vip(family);
        let ports = 20_000..20_150;
        expect_spread(&spread(ports.clone(), |port| ask_tcp(client, port, target)), &weights);
        expect_spread(&spread(ports, |port| ask_udp(client, port, target)), &weights);
        let download = Download::start(client, target, BYTES, 0).unwrap();
        expect_complete(download.finish(PATIENCE).unwrap());
        upload(client, target, BYTES).unwrap();
        // As much as fits into the client's MTU, and what needs fragments.
        for size in [1400, 4000] {
            let content = vec![0x5a; size];
            // Backends have a larger MTU than clients: over IPv6 the first of their large datagrams
            // is lost, and the router's error about it, translated, makes them send smaller pieces.
            let exchange = || exchange(client, 30_000, target, &content);
            let echo = exchange().or_else(|_| exchange()).unwrap();
            assert!(echo.ends_with(&content), "{target}: {} bytes", echo.len());
        }
        calls_of_a_backend(&site, family);
    }
    let metrics = site.metrics();
    assert!(metrics.sum("lb_nat_capacity", &[]) > 0);
    assert_eq!(metrics.sum("lb_xdp_packets_total", &[("reason", "nat_unknown_flow")]), 0);
}

#[track_caller]
fn expect_complete(end: DownloadLine) {
    assert!(matches!(end, DownloadLine::Complete { bytes: BYTES }), "{end:?}");
}

/// A backend calls the service that it is part of, and reaches itself and the others.
fn calls_of_a_backend(site: &Site, family: Family) {
    let host = site.topology.backend(1);
    let names: BTreeSet<String> = (0..40).map(|_| ask_from(host, vip(family)).unwrap()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["be1", "be2", "be3"], "{family}");
}

/// Who answers a request from any port of a host.
fn ask_from(host: &Host, target: SocketAddr) -> io::Result<String> {
    let answer = host.enter(|| {
        let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        io::Result::Ok(answer)
    })?;
    let name = answer.lines().find_map(|line| line.strip_prefix("x-backend: "));
    name.map(str::to_owned).ok_or_else(|| io::Error::other(answer))
}

#[test]
fn flows_survive_a_crash_and_a_restart() {
    let (mut site, _servers) = site(3);
    site.start(&config(3));
    site.until_all_are("up");
    let client = &site.topology.client;
    let downloads: Vec<Download> =
        Family::ALL.map(|family| Download::start(client, vip(family), BYTES, 3).unwrap()).into();
    let mut kept = Connection::open(client, 10_000, vip(Family::V4)).unwrap();
    let server = kept.who().unwrap();
    site.kill_lbd();
    assert_eq!(kept.who().unwrap(), server);
    // New flows are translated too while nobody is there.
    ask_tcp(&site.topology.client, 20_000, vip(Family::V6)).unwrap();
    site.start_lbd();
    assert_eq!(site.json(&["status"])["adopted"], true);
    assert_eq!(kept.who().unwrap(), server);
    for download in downloads {
        expect_complete(download.finish(PATIENCE).unwrap());
    }
}

#[test]
fn used_up_ports_are_counted_and_come_back() {
    /// A reset flow is kept for 10 s, and looked at a second later at the latest.
    const BACK_WITHIN: Duration = Duration::from_secs(30);

    let (mut site, _servers) = site(1);
    let service = Service::tcp("web", vip(Family::V4)).by_translation(OWN_PORT);
    let config = Config::of([service.to(Family::V4, 1..=1)]).set("nat_ports", "\"5000-5003\"");
    site.start(&config);
    site.until_all_are("up");
    let client = &site.topology.client;
    let target = vip(Family::V4);
    let open = |port| Connection::open(client, port, target);
    let mut connections: Vec<_> = (10_000..10_004).map(|port| open(port).unwrap()).collect();
    assert!(open(10_004).is_err(), "no port is left");
    let refused = site.metrics();
    let refused = refused.sum("lb_xdp_packets_total", &[("reason", "nat_ports_exhausted")]);
    assert!(refused > 0);
    // The others do not suffer from it.
    connections.iter_mut().for_each(|connection| assert_eq!(connection.who().unwrap(), "be1"));
    site.until("flows to be counted", || {
        let flows = site.metrics().sum("lb_nat_flows", &[]);
        (flows == 4).then_some(()).ok_or_else(|| format!("{flows} flows"))
    });

    // They are reset by being dropped.
    drop(connections);
    waiting::until("a port to come back", BACK_WITHIN, || {
        ask_tcp(client, 10_005, target).map(drop).map_err(|error| error.to_string())
    })
    .unwrap();
    // One of them the new flow may have taken over.
    site.until("expired flows to be counted", || {
        let expired = site.metrics().sum("lb_nat_expired_total", &[]);
        (expired >= 3).then_some(()).ok_or_else(|| format!("{expired} expired"))
    });
}
