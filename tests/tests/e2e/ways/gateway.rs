//! A backend behind a gateway: tunnels reach it, direct routing does not.

use std::{net::IpAddr, thread};

use lb_tests::{
    address::{self, Family},
    clock,
};

use super::{MODES, PROMISE, datagrams, most_lost, pair, time_of_loss};
use crate::site::{
    Site,
    client::{ask_tcp, spread},
    config::{Config, Service},
    second_vip,
    talk::Talks,
    vip,
};

/// The balancer sends what is for backend 3 to a gateway from now on.
fn route_by(site: &Site, gateway: impl Fn(Family) -> IpAddr) {
    for family in Family::ALL {
        let (backend, bits) = (address::backend(family, 3), family.bits());
        let line = format!("route replace {backend}/{bits} via {}", gateway(family));
        site.topology.balancer.ip(&line).unwrap();
    }
}

/// Makes the router and backend 2 gateways between hosts of one network, and keeps them from saying
/// that they are not needed.
fn open_gateways(site: &Site) {
    let topology = &site.topology;
    for gateway in [&topology.router, topology.backend(2)] {
        gateway.sysctl("ipv4/ip_forward", "1").unwrap();
        gateway.sysctl("ipv6/conf/all/forwarding", "1").unwrap();
    }
    for key in ["ipv4/conf/all", "ipv4/conf/eth0", "ipv6/conf/all", "ipv6/conf/eth0"] {
        topology.balancer.sysctl(&format!("{key}/accept_redirects"), "0").unwrap();
    }
}

/// The old gateway is dead before the route changes: nothing but the new way helps.
#[test]
fn connections_follow_a_route_to_another_gateway() {
    for mode in MODES {
        follow_a_route_to_another_gateway(mode);
    }
}

/// A balancer whose tunnels to backend 3 go by the first gateway.
fn behind_gateways(mode: &str) -> Site {
    let services = Family::ALL
        .into_iter()
        .flat_map(|family| pair(vip(family)).map(|service| service.to(family, 3..=3).by_tunnel()));
    let mut site = Site::new(3);
    open_gateways(&site);
    site.open_tunnels();
    route_by(&site, address::gateway);
    site.start(&Config::of(services).set("xdp_mode", &format!("\"{mode}\"")));
    site.until_all_are("up");
    site
}

fn follow_a_route_to_another_gateway(mode: &str) {
    let site = behind_gateways(mode);
    let shown = site.json(&["backend", "show", "tcp-10.200.0.1/10.0.1.13"])["backends"][0].clone();
    let next_hop = shown["next_hop"].as_str().unwrap();
    assert!(next_hop.ends_with("via eth0, gateway 10.0.1.254"), "{next_hop}");

    let client = &site.topology.client;
    let talks = Family::ALL.map(|family| Talks::start(client, 10_000..10_008, vip(family)));
    let loads = datagrams(&site, vip);
    for family in Family::ALL {
        let (backend, bits) = (address::backend(family, 3), family.bits());
        site.topology.router.ip(&format!("route add blackhole {backend}/{bits}")).unwrap();
    }
    route_by(&site, |family| address::backend(family, 2));
    let changed = clock::now_ms();
    thread::sleep(2 * PROMISE);
    for load in &loads {
        let all = load.settle(0).unwrap();
        let healed = time_of_loss(&all, changed);
        println!("{mode}, {}: healed after {healed:?}", load.target());
        assert!(healed < PROMISE, "{mode}, {}: {healed:?}", load.target());
        // Those of the moment between the end of the old gateway and the new route are among them.
        assert!(all.answered() > 500, "{mode}: {all:?}");
    }
    for talks in talks {
        let longest = talks.finish();
        println!("{mode}: the longest answer took {longest:?}");
        assert!(longest < PROMISE, "{mode}: {longest:?}");
    }
}

/// Nothing is lost if both gateways work.
#[test]
fn a_route_that_moves_between_good_gateways_loses_nothing() {
    let site = behind_gateways("native");
    let loads = datagrams(&site, vip);
    for _ in 0..5 {
        route_by(&site, |family| address::backend(family, 2));
        thread::sleep(PROMISE / 10);
        route_by(&site, address::gateway);
        thread::sleep(PROMISE / 10);
    }
    for load in &loads {
        let all = load.settle(0).unwrap();
        let lost = most_lost(&all);
        println!("{}: {} lost, at most {lost} of a flow", load.target(), all.failed.len());
        assert!(lost <= 3, "{}: {:?}", load.target(), all.failed);
    }
}

#[test]
fn direct_routing_past_a_gateway_is_refused_and_explained() {
    let mut services = Vec::new();
    for family in Family::ALL {
        services.extend(pair(vip(family)).map(|service| service.to(family, 1..=3)));
        let tunnelled = pair(second_vip(family)).map(|service| service.to(family, 1..=3));
        services.extend(tunnelled.map(Service::by_tunnel));
    }
    let mut site = Site::new(3);
    open_gateways(&site);
    site.open_tunnels();
    site.start(&Config::of(services));
    site.until_all_are("up");
    expect_servers(&site, &["be1", "be2", "be3"]);

    route_by(&site, address::gateway);
    for family in Family::ALL {
        let gateway = address::gateway(family);
        let sentence = format!("behind gateway {gateway}: l2 reaches only neighbours; use ipip");
        let name = format!("tcp-{}", vip(family).ip()).replace(':', "-");
        let name = format!("{name}/{}", address::backend(family, 3));
        let row = site.until_is(&name, "drain");
        assert_eq!(row.reason, sentence);
        let shown = site.json(&["backend", "show", &name])["backends"][0].clone();
        assert_eq!(shown["next_hop"], sentence.as_str(), "{shown}");
        let status = site.lbctl(&["status"]);
        let problem = format!("`{name}` gets no new flows: {sentence}");
        assert!(status.code == 1 && status.stdout.contains(&problem), "{status:?}");
        assert!(site.lbd().log().contains(&sentence), "{}", site.lbd().log());
        // The same address is well reached by the tunnel.
        let other = format!("tcp-{}", second_vip(family).ip()).replace(':', "-");
        let other = format!("{other}/{}", address::backend(family, 3));
        assert_eq!(site.backend(&other).state, "up");
    }
    expect_servers(&site, &["be1", "be2"]);

    // So it is for an lbd that finds it like this.
    site.kill_lbd();
    site.start_lbd();
    site.until_is("tcp-10.200.0.1/10.0.1.13", "drain");
    expect_servers(&site, &["be1", "be2"]);

    for family in Family::ALL {
        let (backend, bits) = (address::backend(family, 3), family.bits());
        site.topology.balancer.ip(&format!("route del {backend}/{bits}")).unwrap();
    }
    site.until_all_are("up");
    assert_eq!(site.lbctl(&["status"]).code, 0);
    expect_servers(&site, &["be1", "be2", "be3"]);
}

/// These servers take new flows by direct routing, and all of them by tunnel.
#[track_caller]
fn expect_servers(site: &Site, direct: &[&str]) {
    let client = &site.topology.client;
    for family in Family::ALL {
        for (target, expected) in
            [(vip(family), direct), (second_vip(family), &["be1", "be2", "be3"])]
        {
            let answers = spread(20_000..20_060, |port| ask_tcp(client, port, target));
            assert_eq!(answers.keys().collect::<Vec<_>>(), expected, "{target}");
        }
    }
}
