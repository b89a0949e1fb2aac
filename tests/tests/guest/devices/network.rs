//! Networks that lose, double, delay and reorder packets.

use lb_tests::{Host, address::Family};

use super::{expect_download, pair};
use crate::site::{
    Site,
    client::exchange,
    config::{Config, Service},
    second_vip, vip,
};

/// Every fourth packet overtakes others, one of fifty is lost, one of a hundred comes twice.
const NETEM: &str = "netem delay 4ms 2ms loss 2% duplicate 1% reorder 25%";

fn impair(host: &Host, interface: &str, netem: &str) {
    let line = format!("tc qdisc add dev {interface} root {netem}");
    host.run(&line.split(' ').collect::<Vec<_>>()).unwrap();
}

#[test]
fn downloads_are_whole_over_a_bad_network() {
    let mut services = Vec::new();
    for family in Family::ALL {
        services.extend(pair(vip(family), family));
        services.extend(pair(second_vip(family), family).map(Service::by_tunnel));
    }
    let site = Site::running(2, &Config::of(services));
    impair(&site.topology.client, "eth0", NETEM);
    impair(&site.topology.router, "client", NETEM);
    for family in Family::ALL {
        for target in [vip(family), second_vip(family)] {
            expect_download(&site, target, 500_000);
        }
    }
    let shown = site.topology.client.run(&["tc", "-s", "qdisc", "show", "dev", "eth0"]).unwrap();
    let lost = shown.split("dropped ").nth(1).and_then(|rest| rest.split(',').next());
    assert_ne!(lost, Some("0"), "nothing was lost, so nothing was proven: {shown}");
}

#[test]
fn datagrams_arrive_whole_whatever_the_order_of_their_fragments() {
    let services = Family::ALL.map(|family| {
        let name = format!("udp-{}", vip(family).ip()).replace(':', "-");
        // Those that overtake the first have no ports to go by.
        Service::udp(&name, vip(family)).to(family, 1..=2).key("fragments = \"by-address\"")
    });
    let site = Site::running(2, &Config::of(services));
    for (_, backend) in site.topology.backends() {
        // The client's, so that answers need no router that tells of it.
        backend.ip("link set eth0 mtu 1500").unwrap();
    }
    let client = &site.topology.client;
    impair(client, "eth0", "netem delay 5ms reorder 50%");
    // Three fragments each, for the client's MTU of 1,500 bytes.
    let content = [0x5a; 4000];
    for family in Family::ALL {
        for port in 20_000..20_030 {
            let echo = exchange(client, port, vip(family), &content)
                .unwrap_or_else(|error| panic!("{family} from port {port}: {error}"));
            assert!(echo.ends_with(&content), "{family}: {} bytes", echo.len());
        }
    }
}
