//! Two balancers, each of which takes the other for a backend.

use lb_tests::address::{self, Family};

use crate::site::{
    Site,
    client::send,
    config::{Config, Service},
    second::Second,
    vip,
};

/// What a client's kernel writes into its packets.
const HOP_LIMIT: u64 = 64;

#[test]
fn a_packet_between_balancers_comes_to_an_end() {
    let config = |backend: fn(Family) -> std::net::IpAddr| {
        let service = |family: Family| {
            Service::udp(&format!("udp-{family}"), vip(family)).weighted(backend(family), 100)
        };
        Config::of(Family::ALL.map(service))
    };
    let mut site = Site::new(1);
    // Its next hop is there before it looks for it.
    let second = Second::start(&site, &config(address::balancer));
    site.start(&config(address::second_balancer));
    site.until_all_are("up");
    for family in Family::ALL {
        let sent = || {
            let counted = [site.metrics(), second.metrics()];
            let of = |reason| {
                let labels = [("reason", reason)];
                counted
                    .iter()
                    .map(|metrics| metrics.sum("lb_xdp_packets_total", &labels))
                    .sum::<u64>()
            };
            let ends: u64 = of("hop_limit") + of("hop_limit_told");
            (of("transmitted"), ends)
        };
        let before = sent();
        send(&site.topology.client, 20_000, vip(family), 100);
        let (copies, ends) = site.until("the packet to end", || {
            let (copies, ends) = sent();
            let now = (copies - before.0, ends - before.1);
            (now.1 > 0).then_some(now).ok_or_else(|| format!("{now:?}"))
        });
        println!("{family}: {copies} copies of one packet");
        // The router takes one from the hop limit before the first balancer does.
        assert_eq!((copies, ends), (HOP_LIMIT - 2, 1), "{family}");
    }
}
