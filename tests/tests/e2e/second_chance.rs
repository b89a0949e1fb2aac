//! Two load balancers behind one router, and flows that come to the one that does not know them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    ops::Range,
    os::fd::{AsRawFd as _, OwnedFd},
};

use lb_tests::{
    Lbctl, Mtus,
    address::{self, Family},
    packets::{Segment, Shape},
};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto,
    socket,
};
use serde_json::Value;

use crate::{
    pmtu::known_mtu,
    site::{
        Site,
        client::{Connection, source},
        config::{Config, Service},
        said::{self, Said},
        second::Second,
        upload::Upload,
        vip, xdp,
    },
};

const BEFORE: Range<u16> = 10_000..10_040;
const AFTER: Range<u16> = 20_000..20_040;
/// The backend that is added.
const NEW: u8 = 3;

/// A service of each family, by GUE, with two backends of another family each.
fn config() -> Config {
    let [v4, v6] = Family::ALL;
    Config::of([("web4", v4, v6), ("web6", v6, v4)].map(|(name, family, backends)| {
        Service::tcp(name, vip(family)).forwarded("gue").to(backends, 1..=2)
    }))
}

/// A name of each service, and the family of its backends.
const SERVICES: [(&str, Family); 2] = [("web4", Family::V6), ("web6", Family::V4)];

/// Runs `lbctl decap` on a backend.
fn decap(site: &Site, number: u8, words: &str) -> Said {
    let lbctl = Lbctl::new(site.topology.backend(number)).unwrap();
    let mut arguments = vec!["-o", "json", "decap"];
    arguments.extend(words.split(' '));
    said::by(lbctl.command(&arguments))
}

/// `decap attach` with both balancers' addresses.
fn attach(site: &Site, number: u8, more: &str) -> Said {
    let balancers = [address::balancer, address::second_balancer];
    let from = balancers.iter().flat_map(|of| Family::ALL.map(|family| of(family).to_string()));
    let from: Vec<String> = from.map(|source| format!("--from {source}")).collect();
    decap(site, number, &format!("attach eth0 {}{more}", from.join(" ")))
}

/// Lets every backend route what comes in, and give on what is another's. The first has the program
/// in generic mode.
fn open_with_second_chance(site: &Site) {
    for (number, backend) in site.topology.backends() {
        backend.sysctl("ipv4/conf/eth0/forwarding", "1").unwrap();
        backend.sysctl("ipv6/conf/all/forwarding", "1").unwrap();
        // Strict: packets for others have the load balancers' source, which is reached that way.
        backend.sysctl("ipv4/conf/eth0/rp_filter", "1").unwrap();
        let mode = if number == 1 { "generic" } else { "native" };
        let attached = attach(site, number, &format!(" --second-chance --mode {mode}"));
        assert_eq!(attached.code, 0, "{attached:?}");
    }
}

/// How many packets got this verdict at the far ends.
#[track_caller]
fn count(site: &Site, reason: &str) -> u64 {
    let of = |number| {
        let answer = decap(site, number, "show");
        let document: Value = serde_json::from_str(&answer.stdout).unwrap();
        let rows = document["decap"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["reason"] == reason);
        row.unwrap_or_else(|| panic!("no {reason} in {answer:?}"))["packets"].as_u64().unwrap()
    };
    site.topology.backends().map(|(number, _)| of(number)).sum()
}

/// Has the router spread flows over these balancers.
fn route_over(site: &Site, balancers: &[fn(Family) -> IpAddr]) {
    let router = &site.topology.router;
    for family in Family::ALL {
        let version = if family == Family::V4 { "ipv4" } else { "ipv6" };
        // By ports too: all flows here have one client.
        router.sysctl(&format!("{version}/fib_multipath_hash_policy"), "1").unwrap();
        let hops: Vec<String> =
            balancers.iter().map(|of| format!("nexthop via {}", of(family))).collect();
        let services = address::services(family);
        router.ip(&format!("route replace {services} {}", hops.join(" "))).unwrap();
    }
}

type Named = (Connection, String);

/// Connections to every service, each with its server.
fn open(site: &Site, ports: Range<u16>) -> Vec<Named> {
    let open = |family, port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(family)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    Family::ALL
        .into_iter()
        .flat_map(|family| ports.clone().map(move |port| open(family, port)))
        .collect()
}

#[track_caller]
fn expect_unbroken(when: &str, connections: &mut [Named]) {
    for (connection, server) in connections {
        let source = connection.source;
        let now = connection.who();
        let now = now.unwrap_or_else(|error| panic!("{when}, {source}, {server}: {error}"));
        assert_eq!(now, *server, "{when}, {source}");
    }
}

const FIRST: fn(Family) -> IpAddr = address::balancer;
const SECOND: fn(Family) -> IpAddr = address::second_balancer;

/// Two balancers to which the router sends flows, each with all backends but the new one.
fn two_balancers(mtus: Mtus) -> (Site, Second) {
    let mut site = Site::with_mtus(NEW, mtus);
    open_with_second_chance(&site);
    site.start(&config());
    site.until_all_are("up");
    let second = Second::start(&site, &config());
    route_over(&site, &[FIRST, SECOND]);
    (site, second)
}

/// Adds the new backend to the first balancer.
fn add_backend(site: &Site) {
    for (service, family) in SERVICES {
        site.ask(&["backend", "add", &format!("{service}/{}", address::backend(family, NEW))]);
    }
    site.until_all_are("up");
}

/// Adds it to both.
fn add_backend_to_both(site: &Site, second: &Second) {
    add_backend(site);
    for (service, family) in SERVICES {
        second.ask(&["backend", "add", &format!("{service}/{}", address::backend(family, NEW))]);
    }
    second.until_all_are_up(site);
}

/// A backend is added, flows begin, and then one balancer after the other goes: what either of them
/// remembers goes with it.
#[test]
fn flows_survive_a_balancer_that_goes_after_a_backend_was_added() {
    let (site, second) = two_balancers(Mtus::default());
    let mut connections = open(&site, BEFORE);
    assert!(connections.iter().all(|(_, server)| server != "be3"));
    add_backend_to_both(&site, &second);
    connections.extend(open(&site, AFTER));
    let moved = connections.iter().filter(|(_, server)| server == "be3").count();
    assert!(moved > 5, "{moved} flows of the new backend");
    expect_unbroken("both balancers", &mut connections);

    route_over(&site, &[FIRST]);
    expect_unbroken("the first alone", &mut connections);
    route_over(&site, &[SECOND]);
    expect_unbroken("the second alone", &mut connections);
    let given_on = count(&site, "second_chance");
    println!(
        "{} flows, {moved} of the new backend, {given_on} packets given on",
        connections.len()
    );
    assert!(given_on > 0, "no packet came to the wrong backend");
    route_over(&site, &[FIRST, SECOND]);
    expect_unbroken("both again", &mut connections);
}

/// Where there is no room for a tunnel, senders are told what fits with the mark.
#[test]
fn uploads_of_full_packets_survive_it() {
    const BYTES: u64 = 100_000;
    // So many that some are of the third of slots that has changed hands.
    const FLOWS: Range<u8> = 0..40;
    let (site, second) = two_balancers(Mtus { client: 1500, servers: 1500 });
    add_backend_to_both(&site, &second);
    route_over(&site, &[FIRST]);
    let start = |family| Upload::start(&site.topology.client, vip(family), BYTES).unwrap();
    let uploads: Vec<Upload> =
        Family::ALL.into_iter().flat_map(|family| FLOWS.map(move |_| start(family))).collect();
    route_over(&site, &[SECOND]);
    for upload in uploads {
        upload.finish().unwrap();
    }
    let given_on = count(&site, "second_chance");
    println!("{given_on} packets given on");
    assert!(given_on > 0, "no packet came to the wrong backend");
    // Outer IPv6 headers around IPv4, and the other way round.
    for (family, overhead) in [(Family::V4, 40 + 12 + 20), (Family::V6, 20 + 12 + 8)] {
        let known = known_mtu(&site.topology.client, vip(family).ip());
        assert_eq!(known, Some(1500 - overhead), "{family}");
    }
}

/// What neither backend knows goes no further than to the second, whose machine answers it.
#[test]
fn a_packet_is_given_on_once() {
    let mut site = Site::new(NEW);
    open_with_second_chance(&site);
    site.start(&config());
    site.until_all_are("up");
    add_backend(&site);
    let client = Eavesdropper::new(&site);
    for family in Family::ALL {
        BEFORE.for_each(|port| client.send_stray(family, port));
    }
    let sent = (2 * BEFORE.len()) as u64;
    let (opened, given_on) = site.until("every packet to arrive", || {
        let (opened, given_on) = (count(&site, "opened"), count(&site, "second_chance"));
        (opened >= sent)
            .then_some((opened, given_on))
            .ok_or_else(|| format!("{opened}, {given_on}"))
    });
    println!("{sent} packets of no connection, {given_on} given on");
    assert_eq!(opened, sent);
    assert!((1..sent).contains(&given_on), "{given_on}");
    for family in Family::ALL {
        client.expect_resets(&site, family, BEFORE);
    }
}

/// Sends segments of no connection from the client, and sees what comes back.
struct Eavesdropper {
    sockets: [OwnedFd; 2],
}

impl Eavesdropper {
    fn new(site: &Site) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open = |family| socket(family, SockType::Raw, flags, SockProtocol::Tcp).unwrap();
        let sockets =
            site.topology.client.enter(|| [AddressFamily::Inet, AddressFamily::Inet6].map(open));
        Self { sockets }
    }

    const fn socket(&self, family: Family) -> &OwnedFd {
        match family {
            Family::V4 => &self.sockets[0],
            Family::V6 => &self.sockets[1],
        }
    }

    fn send_stray(&self, family: Family, port: u16) {
        let (from, to) = (source(vip(family), port), vip(family));
        let shape = Shape::tcp(&from.to_string(), &to.to_string(), Segment::Ack);
        let segment = shape.frame().split_off(shape.transport_offset());
        // The port of a raw socket's peer is zero.
        let to = SockaddrStorage::from(SocketAddr::new(to.ip(), 0));
        sendto(self.socket(family).as_raw_fd(), &segment, &to, MsgFlags::empty()).unwrap();
    }

    /// Waits until each of the client's ports was sent a reset.
    #[track_caller]
    fn expect_resets(&self, site: &Site, family: Family, ports: Range<u16>) {
        const RESET: u8 = 4;
        // Raw sockets show IPv4 headers, and none of IPv6.
        let start = if family == Family::V4 { 20 } else { 0 };
        let mut missing: BTreeSet<u16> = ports.collect();
        site.until("resets", || {
            let mut bytes = [0; 256];
            while let Ok(length) =
                recv(self.socket(family).as_raw_fd(), &mut bytes, MsgFlags::empty())
            {
                let segment = &bytes[start..length];
                if segment[13] & RESET != 0 {
                    missing.remove(&u16::from_be_bytes([segment[2], segment[3]]));
                }
            }
            missing.is_empty().then_some(()).ok_or_else(|| format!("none for {missing:?}"))
        });
    }
}

/// Without routing packets for others would be lost without a word.
#[test]
fn a_machine_that_does_not_route_is_refused() {
    let site = Site::new(1);
    let backend = site.topology.backend(1);
    for (family, parameter, value) in [
        ("IPv4", "ipv4/conf/eth0/forwarding", "net.ipv4.conf.eth0.forwarding=1"),
        ("IPv6", "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding=1"),
    ] {
        let refused = attach(&site, 1, " --second-chance");
        assert_eq!(refused.code, 1, "{refused:?}");
        let is_said = refused.stderr.contains(&format!("does not route {family} packets"))
            && refused.stderr.contains(value);
        assert!(is_said, "{refused:?}");
        assert_eq!(xdp::pins(backend), [""; 0]);
        backend.sysctl(parameter, "1").unwrap();
    }
    assert_eq!(attach(&site, 1, " --second-chance").code, 0);
}
