//! A backend behind another interface than the one by which packets come in.

use std::{thread, time::Duration};

use lb_tests::{
    Lbctl,
    address::{self, Family},
    clock,
};

use super::{MODES, PROMISE, pair};
use crate::site::{
    Site,
    client::{ask_tcp, ask_udp, expect_spread, spread},
    config::{Config, Service},
    second_vip,
    talk::Talks,
    vip,
};

const WEIGHTS: [(&str, f64); 2] = [("be1", 1.0), ("be2", 1.0)];

/// Backend 1 behind the bridge, backend 2 behind a cable of its own; by direct routing under the
/// first service's address, by tunnel under the second's.
fn site(mode: &str) -> Site {
    let mut services = Vec::new();
    for family in Family::ALL {
        let backends = |service: Service| {
            let beyond = address::backend_on_cable(family, 2);
            service.to(family, 1..=1).weighted(beyond, 100)
        };
        services.extend(pair(vip(family)).map(backends));
        services.extend(pair(second_vip(family)).map(backends).map(Service::by_tunnel));
    }
    let mut site = Site::new(2);
    site.topology.connect_to_balancer(2).unwrap();
    site.open_tunnels();
    let from = Family::ALL.map(|family| address::balancer_on_cable(family).to_string());
    let backend = site.topology.backend(2);
    backend.run(&["ip", "link", "set", "dev", "eth1", "xdpdrv", "off"]).unwrap();
    let lbctl = Lbctl::new(backend).unwrap();
    lbctl.run(&["decap", "attach", "eth1", "--from", &from[0], "--from", &from[1]]).unwrap();
    site.start(&Config::of(services).set("xdp_mode", &format!("\"{mode}\"")));
    site.until_all_are("up");
    site
}

#[test]
fn a_backend_behind_another_interface_has_its_share() {
    for mode in MODES {
        let site = site(mode);
        let client = &site.topology.client;
        for family in Family::ALL {
            for target in [vip(family), second_vip(family)] {
                let tcp = spread(20_000..20_200, |port| ask_tcp(client, port, target));
                expect_spread(&tcp, &WEIGHTS);
                let udp = spread(20_000..20_200, |port| ask_udp(client, port, target));
                expect_spread(&udp, &WEIGHTS);
            }
        }
        let redirected = [("action", "redirect")];
        let count = site.metrics().sum("lb_xdp_packets_total", &redirected);
        assert!(count > 1000, "{mode}: {count} packets were redirected");
    }
}

/// While the interface is down, the way to what is behind it is the one by the default gateway,
/// which direct routing cannot use; but its connections have to find it where it was.
#[test]
fn an_interface_that_goes_down_and_up_breaks_no_connection() {
    let site = site("native");
    let (client, balancer) = (&site.topology.client, &site.topology.balancer);
    let barred = "behind gateway 10.0.1.254: l2 reaches only neighbours; use ipip";
    let talks = Family::ALL.map(|family| Talks::start(client, 10_000..10_008, vip(family)));
    balancer.ip("link set eth1 down").unwrap();
    let name = "tcp-10.200.0.1/10.0.2.12";
    let row = site.until_is(name, "drain");
    assert_eq!(row.reason, barred);
    let answers = spread(20_000..20_050, |port| ask_tcp(client, port, vip(Family::V4)));
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["be1"], "new flows go to the other");
    balancer.ip("link set eth1 up").unwrap();
    // The kernel takes up to a second to tell that the other end is there.
    site.until("the interface to be connected", || {
        let state = std::fs::read_to_string(balancer.path("/sys/class/net/eth1/operstate"));
        let state = state.map_err(|error| error.to_string())?;
        (state == "up\n").then_some(()).ok_or(state)
    });
    let up = clock::now_ms();
    site.until_all_are("up");
    let healed = Duration::from_millis(clock::now_ms() - up);
    println!("up again after {healed:?}");
    assert!(healed < PROMISE, "{healed:?}");
    // Time for what was lost to be sent again.
    thread::sleep(2 * PROMISE);
    for talks in talks {
        println!("the longest answer took {:?}", talks.finish());
    }
    let answers = spread(20_000..20_200, |port| ask_tcp(client, port, vip(Family::V4)));
    expect_spread(&answers, &WEIGHTS);
}
