//! Every packet is counted once, where it belongs, and every drop has a reason.

use std::fs;

use lb_tests::{
    Load,
    address::{self, Family},
};

use crate::site::{
    Site,
    client::{ask_tcp, ask_udp, expect_none_failed, send, spread, watch},
    config::{Config, Service},
    metrics::Metrics,
    second_vip, vip,
};

/// A TCP and a UDP service by direct routing, and a UDP service by tunnel, each to two backends.
fn site() -> Site {
    let services = [
        Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=2),
        Service::udp("echo", vip(Family::V4)).to(Family::V4, 1..=2),
        Service::udp("tunnel", second_vip(Family::V4)).by_tunnel().to(Family::V4, 1..=2),
    ];
    Site::running(2, &Config::of(services))
}

#[test]
fn every_frame_that_comes_in_has_one_verdict() {
    let site = site();
    // Frames that the driver has given to the program, and verdicts. Something always moves (the
    // kernel looks for neighbours): compared is only what did not move while it was read.
    let frames = || {
        let path = "/sys/class/net/eth0/statistics/rx_packets";
        let text = fs::read_to_string(site.topology.balancer.path(path)).unwrap();
        text.trim().parse::<u64>().unwrap()
    };
    let quiet = |what: &str| {
        site.until(what, || {
            let before = frames();
            let verdicts = site.metrics().sum("lb_xdp_packets_total", &[]);
            let after = frames();
            (before == after)
                .then_some((after, verdicts))
                .ok_or_else(|| format!("{before}, then {after} frames"))
        })
    };
    let before = quiet("a quiet network");
    let client = &site.topology.client;
    let load = Load::udp(client, vip(Family::V4), 500).unwrap();
    spread(20_000..20_200, |port| ask_tcp(client, port, vip(Family::V4)));
    watch(&load, 0, 500);
    load.finish().unwrap();
    let after = quiet("a quiet network again");
    let [new_frames, new_verdicts] = [after.0 - before.0, after.1 - before.1];
    assert!(new_frames > 1000, "{before:?}, {after:?}");
    assert_eq!(new_frames, new_verdicts, "{}", site.metrics().text());
}

#[test]
fn services_and_their_backends_count_what_clients_send() {
    const REQUESTS: u64 = 300;
    let site = site();
    let client = &site.topology.client;
    let ports = || 20_000..20_000 + REQUESTS as u16;
    spread(ports(), |port| ask_udp(client, port, vip(Family::V4)));
    spread(ports(), |port| ask_udp(client, port, second_vip(Family::V4)));
    spread(ports(), |port| ask_tcp(client, port, vip(Family::V4)));
    // The client's very last packets may still be on their way.
    let metrics = site.until("all counters to agree", || {
        let metrics = site.metrics();
        disagreement(&metrics).map_or(Ok(()), Err).map(|()| metrics)
    });
    for name in ["echo", "tunnel"] {
        let service = [("service", name)];
        assert_eq!(metrics.sum("lb_service_packets_total", &service), REQUESTS);
        // IP and UDP headers and "hello", without those of the tunnel.
        let bytes = REQUESTS * (20 + 8 + 5);
        assert_eq!(metrics.sum("lb_service_bytes_total", &service), bytes);
        assert_eq!(metrics.sum("lb_service_new_flows_total", &service), 0);
    }
    let web = [("service", "web")];
    assert_eq!(metrics.sum("lb_service_new_flows_total", &web), REQUESTS);
    let rows = site.json(&["backend", "list"]);
    for row in rows["backends"].as_array().unwrap() {
        let labels = ["service", "address"].map(|key| row[key].as_str().unwrap());
        let labels = [("service", labels[0]), ("backend", labels[1])];
        for (key, name) in [
            ("packets", "lb_backend_packets_total"),
            ("bytes", "lb_backend_bytes_total"),
            ("new_flows", "lb_backend_new_flows_total"),
        ] {
            assert_eq!(row[key], metrics.sum(name, &labels), "{key}: {row}");
        }
    }
}

/// Whether a service counts something else than its backends together, or the verdicts than all
/// services.
fn disagreement(metrics: &Metrics) -> Option<String> {
    let families = ["packets", "bytes", "new_flows"];
    let per_service = families.iter().flat_map(|family| {
        ["web", "echo", "tunnel"].map(|name| {
            let sum =
                |noun| metrics.sum(&format!("lb_{noun}_{family}_total"), &[("service", name)]);
            (format!("{family} of {name}"), sum("service"), sum("backend"))
        })
    });
    let sent = metrics.sum("lb_xdp_packets_total", &[("reason", "transmitted")]);
    let all = metrics.sum("lb_service_packets_total", &[]);
    per_service
        .chain([("packets sent".to_owned(), all, sent)])
        .find(|(_, one, other)| one != other)
        .map(|found| format!("{found:?}"))
}

#[test]
fn drops_are_counted_with_their_reason() {
    const DATAGRAMS: u64 = 10;
    let site = site();
    let balancer = &site.topology.balancer;
    let send_all = |target, size| {
        (0..DATAGRAMS).for_each(|_| send(&site.topology.client, 20_000, target, size));
    };
    let expect = |reason: &str| {
        site.until(&format!("{DATAGRAMS} packets with reason {reason}"), || {
            let metrics = site.metrics();
            let labels = [("action", "drop"), ("reason", reason)];
            let dropped = metrics.sum("lb_xdp_packets_total", &labels);
            (dropped == DATAGRAMS).then_some(()).ok_or_else(|| metrics.text().to_owned())
        });
        let verdicts = &site.json(&["status"])["verdicts"];
        let verdicts = verdicts.as_array().unwrap();
        let found = verdicts.iter().find(|verdict| verdict["reason"] == reason);
        assert_eq!(found.unwrap()["packets"], DATAGRAMS, "{verdicts:?}");
    };

    // 1,500 bytes with the client's headers, which fit, and 1,520 with the tunnel's.
    balancer.ip("link set eth0 mtu 1500").unwrap();
    let next_hops = || site.json(&["backend", "list"]).to_string();
    site.until("lbd to hear of the MTU", || {
        send_all(second_vip(Family::V4), 1472);
        let metrics = site.metrics();
        // Once the client has been told, its datagrams are smaller.
        let told = metrics.sum("lb_xdp_packets_total", &[("reason", "too_big_told")]);
        (told > 0).then_some(()).ok_or_else(next_hops)
    });
    let load = Load::udp(&site.topology.client, second_vip(Family::V4), 100).unwrap();
    watch(&load, 0, 20);
    expect_none_failed(&load, 0);
    load.finish().unwrap();

    for number in [1, 2] {
        let address = address::backend(Family::V4, number);
        balancer.ip(&format!("route add unreachable {address}/32")).unwrap();
        site.until("lbd to hear of the route", || {
            let row = site.json(&["backend", "show", &format!("echo/{address}")]);
            let next_hop = row["backends"][0]["next_hop"].to_string();
            (!next_hop.contains("via")).then_some(()).ok_or(next_hop)
        });
    }
    send_all(vip(Family::V4), 10);
    expect("next_hop_unknown");

    for number in [1, 2] {
        let name = format!("echo/{}", address::backend(Family::V4, number));
        site.ask(&["backend", "maint", &name]);
    }
    send_all(vip(Family::V4), 10);
    expect("no_backend");
}
