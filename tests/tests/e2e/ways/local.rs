//! The load balancer's own machine as a backend.

use std::net::SocketAddr;

use lb_tests::address::{self, Family};

use super::{MODES, pair};
use crate::site::{
    PORT, Site,
    client::{ask_tcp, ask_udp, expect_spread, spread},
    config::Config,
    second_vip,
    talk::Talks,
    vip,
};

/// The machine itself has half of the others' weight.
const WEIGHTS: [(&str, f64); 4] =
    [("be1", 100.0), ("be2", 100.0), ("be3", 100.0), ("balancer", 50.0)];

#[test]
fn the_balancers_own_machine_has_its_share() {
    for mode in MODES {
        its_own_machine_has_its_share(mode);
    }
}

fn its_own_machine_has_its_share(mode: &str) {
    let with_itself = |target: SocketAddr, family| {
        pair(target)
            .map(|service| service.to(family, 1..=3).weighted(address::balancer(family), 50))
    };
    let direct = Family::ALL.into_iter().flat_map(|family| with_itself(vip(family), family));
    let tunnelled = Family::ALL.into_iter().flat_map(|family| {
        with_itself(second_vip(family), family).map(crate::site::config::Service::by_tunnel)
    });
    let config = Config::of(direct.chain(tunnelled)).set("xdp_mode", &format!("\"{mode}\""));
    let mut site = Site::new(3);
    let _server = site.topology.start_server_on_balancer(PORT).unwrap();
    site.open_tunnels();
    site.start(&config);
    site.until_all_are("up");
    let client = &site.topology.client;
    for family in Family::ALL {
        for target in [vip(family), second_vip(family)] {
            let talks = Talks::start(client, 10_000..10_008, target);
            expect_spread(&spread(20_000..20_300, |port| ask_tcp(client, port, target)), &WEIGHTS);
            expect_spread(&spread(20_000..20_300, |port| ask_udp(client, port, target)), &WEIGHTS);
            talks.finish();
        }
        let name = format!("tcp-{}", vip(family).ip()).replace(':', "-");
        let name = format!("{name}/{}", address::balancer(family));
        let shown = site.json(&["backend", "show", &name])["backends"][0].clone();
        assert_eq!(shown["next_hop"], "this machine", "{shown}");
        assert!(shown["packets"].as_u64().unwrap() > 0, "{shown}");
    }
}
