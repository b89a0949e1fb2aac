//! What is not for a service reaches the balancer's own stack as if lb were not there.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use lb_tests::{
    Host, Server,
    address::{self, Family},
};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::site::{
    PORT, Site,
    client::{ask_tcp, ask_udp, exchange},
    config::{Config, Service},
    vip,
};

/// A TCP and a UDP service in each family.
fn site() -> Site {
    let services = Family::ALL.into_iter().flat_map(|family| {
        let name = |protocol| format!("{protocol}-{family}");
        let tcp = Service::tcp(&name("tcp"), vip(family)).to(family, 1..=1);
        let udp = Service::udp(&name("udp"), vip(family)).to(family, 1..=1);
        [tcp, udp]
    });
    Site::running(1, &Config::of(services))
}

#[test]
fn the_balancers_own_addresses_answer() {
    let site = site();
    let client = &site.topology.client;
    let own = Family::ALL.map(|family| SocketAddr::new(address::balancer(family), PORT));
    let _server = Server::start(&site.topology.balancer, own).unwrap();
    for (family, target) in Family::ALL.into_iter().zip(own) {
        ping(client, target).unwrap_or_else(|error| panic!("ping {family}: {error}"));
        // The port is that of services, but the address is not.
        assert_eq!(ask_tcp(client, 20_000, target).unwrap(), "balancer");
        assert_eq!(ask_udp(client, 20_000, target).unwrap(), "balancer");
        // Three fragments each way. In IPv6 the first echo only finds out that the client's MTU is
        // smaller than the balancer's.
        let content = [0x5a; 4000];
        let echo = site.until(&format!("{family} fragments to be echoed"), || {
            exchange(client, 20_001, target, &content).map_err(|error| error.to_string())
        });
        assert!(echo.ends_with(&content), "{family}: {} bytes", echo.len());
    }
    let metrics = site.metrics();
    let packets = |reason| metrics.sum("lb_xdp_packets_total", &[("reason", reason)]);
    assert!(packets("fragment") >= 3, "{}", metrics.text());
    assert!(packets("not_transport") >= 2, "{}", metrics.text());
    assert_eq!(metrics.sum("lb_service_packets_total", &[]), 0);
}

#[test]
fn neighbours_find_each_other() {
    let site = site();
    let own = Family::ALL.map(|family| SocketAddr::new(address::balancer(family), PORT));
    let _server = Server::start(&site.topology.balancer, own).unwrap();
    let count = |reason| {
        let metrics = site.metrics();
        metrics.sum("lb_xdp_packets_total", &[("reason", reason)])
    };
    let before = ["not_ip", "not_transport"].map(count);
    site.topology.router.ip("neigh flush dev br0").unwrap();
    for target in own {
        let answer = ask_tcp(&site.topology.client, 20_000, target);
        assert_eq!(answer.unwrap(), "balancer");
    }
    let after = ["not_ip", "not_transport"].map(count);
    assert!(after[0] > before[0], "no ARP: {before:?}, {after:?}");
    let no_discovery = "no neighbour discovery";
    assert!(after[1] > before[1], "{no_discovery}: {before:?}, {after:?}");
    // And the services' packets still find the balancer.
    for family in Family::ALL {
        let answer = ask_tcp(&site.topology.client, 20_001, vip(family));
        assert_eq!(answer.unwrap(), "be1");
    }
}

#[test]
fn a_services_address_has_only_the_services_ports() {
    let site = site();
    let balancer = &site.topology.balancer;
    for family in Family::ALL {
        let (address, bits) = (vip(family).ip(), family.bits());
        // Even on lo an IPv6 address is tentative for a moment otherwise.
        let flags = if family == Family::V6 { "nodad" } else { "" };
        let line = format!("address add {address}/{bits} dev lo {flags}");
        balancer.ip(&line).unwrap();
    }
    let others = Family::ALL.map(|family| SocketAddr::new(vip(family).ip(), 81));
    let _server = Server::start(balancer, others).unwrap();
    for (family, other) in Family::ALL.into_iter().zip(others) {
        let client = &site.topology.client;
        assert_eq!(ask_tcp(client, 20_000, other).unwrap(), "balancer");
        assert_eq!(ask_udp(client, 20_000, other).unwrap(), "balancer");
        assert_eq!(ask_tcp(client, 20_000, vip(family)).unwrap(), "be1");
        assert_eq!(ask_udp(client, 20_000, vip(family)).unwrap(), "be1");
        ping(client, other).unwrap_or_else(|error| panic!("ping {family}: {error}"));
    }
}

/// Three fragments each way: they go where the first one goes.
#[test]
fn fragments_for_a_service_reach_its_backend() {
    let site = site();
    for family in Family::ALL {
        let content = [0x5a; 4000];
        let echo = site.until(&format!("{family} fragments to be echoed"), || {
            let target = vip(family);
            exchange(&site.topology.client, 20_001, target, &content)
                .map_err(|error| error.to_string())
        });
        assert!(echo.starts_with(b"be1") && echo.ends_with(&content), "{} bytes", echo.len());
    }
    let metrics = site.metrics();
    assert!(metrics.sum("lb_service_packets_total", &[]) >= 6, "{}", metrics.text());
    let dropped = metrics.sum("lb_xdp_packets_total", &[("action", "drop")]);
    assert_eq!(dropped, 0, "{}", metrics.text());
}

/// Sends an ICMP echo request and waits for the reply.
pub(crate) fn ping(client: &Host, target: SocketAddr) -> io::Result<()> {
    // Who may open such a socket; see icmp(7). Everybody.
    client.sysctl("ipv4/ping_group_range", "0 0").map_err(io::Error::other)?;
    let (family, protocol, request) = match target {
        SocketAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
        SocketAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
    };
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = client.enter(|| socket(family, SockType::Datagram, flags, protocol))?;
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(&[request, 0, 0, 0, 0, 0, 0, 1], target)?;
    let mut reply = [0; 64];
    socket.recv(&mut reply).map(drop)
}
