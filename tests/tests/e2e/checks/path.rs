//! Checks that come as clients' packets do find out what checks of a backend's own address do not.

use std::net::SocketAddr;

use lb_tests::{
    Lbctl,
    address::{self, Family},
};

use super::{check, is_down, is_up, name, target, until_shown};
use crate::site::{
    PORT, Site,
    client::{ask_tcp, spread},
    config::{Config, Service},
    second_vip, vip,
};

/// The services whose checks take the tunnel.
const TUNNELLED: [&str; 2] = ["ipip", "gue"];

/// Two services whose checks take the tunnel, and one whose checks ask backends directly: with that
/// check none of them would ever see a backend down.
fn config() -> Config {
    let service = |name, target: SocketAddr, forward, keys: &str| {
        let service = Service::tcp(name, target).to(Family::V4, 1..=2).forwarded(forward);
        service.table("health_check", &check("http", keys))
    };
    let direct = format!("port = {PORT}\nvia = \"direct\"");
    Config::of([
        service("ipip", vip(Family::V4), "ipip", ""),
        service("gue", second_vip(Family::V4), "gue", ""),
        service("direct", target(PORT + 1), "ipip", &direct),
    ])
}

/// Makes a backend take packets of the balancer out of tunnels.
fn open_tunnel(site: &Site, number: u8) {
    let balancer = address::balancer(Family::V4).to_string();
    let lbctl = Lbctl::new(site.topology.backend(number)).unwrap();
    lbctl.run(&["decap", "attach", "eth0", "--from", &balancer]).unwrap();
}

#[track_caller]
fn until_up(site: &Site, service: &str, number: u8) {
    until_shown(site, &name(service, number), "up", is_up);
}

/// Waits until nothing answers through the tunnel.
#[track_caller]
fn until_lost(site: &Site, service: &str, number: u8) {
    until_shown(site, &name(service, number), "lost", |shown| {
        is_down(shown, "connect timed out after 200 ms", "L4TOUT")
    });
}

#[test]
fn a_backend_without_a_tunnel_gets_no_flows() {
    let mut site = Site::new(2);
    open_tunnel(&site, 1);
    site.start(&config());
    for service in TUNNELLED {
        until_up(&site, service, 1);
        until_lost(&site, service, 2);
    }
    // It answers at its own address all the while.
    until_up(&site, "direct", 2);
    let client = &site.topology.client;
    for target in [vip(Family::V4), second_vip(Family::V4)] {
        let answers = spread(20_000..20_020, |port| ask_tcp(client, port, target));
        assert_eq!(answers.into_iter().collect::<Vec<_>>(), [("be1".to_owned(), 20)]);
    }

    open_tunnel(&site, 2);
    TUNNELLED.into_iter().for_each(|service| until_up(&site, service, 2));
}

#[test]
fn a_backend_that_loses_the_address_of_a_service_goes_down_there() {
    let mut site = Site::new(2);
    [1, 2].into_iter().for_each(|number| open_tunnel(&site, number));
    site.start(&config());
    for (service, number) in [("ipip", 1), ("gue", 1), ("direct", 1), ("ipip", 2), ("gue", 2)] {
        until_up(&site, service, number);
    }
    for (service, lost, other) in [("ipip", 1, "gue"), ("gue", 2, "ipip")] {
        let backend = site.topology.backend(1);
        let lost = address::service(Family::V4, lost);
        backend.ip(&format!("address del {lost}/32 dev lo")).unwrap();
        until_lost(&site, service, 1);
        for (service, number) in [(other, 1), ("direct", 1), (service, 2)] {
            until_up(&site, service, number);
        }
        backend.ip(&format!("address add {lost}/32 dev lo")).unwrap();
        until_up(&site, service, 1);
    }
}
