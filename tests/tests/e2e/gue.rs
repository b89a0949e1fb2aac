//! Tunnels of GUE, and the addresses that tunnels come from.

use std::{fs, net::SocketAddr, ops::Range};

use lb_tests::{
    Download, Lbctl,
    address::{self, Family},
    report::DownloadLine,
};
use serde_json::Value;

use crate::site::{
    PATIENCE, Site,
    client::{ask_tcp, ask_udp, exchange, expect_spread, send, spread},
    config::{Config, Service},
    said::{self, Said},
    second_vip, vip, xdp,
};

const WEIGHTS: [(&str, f64); 2] = [("be1", 1.0), ("be2", 1.0)];
const PORTS: Range<u16> = 20_000..20_200;

/// A TCP and a UDP service with one address, with two backends of this family.
fn pair(target: SocketAddr, backends: Family, forward: &'static str) -> [Service; 2] {
    let name = |protocol| format!("{protocol}-{}", target.ip()).replace(':', "-");
    let services = [Service::tcp(&name("tcp"), target), Service::udp(&name("udp"), target)];
    services.map(|service| service.to(backends, 1..=2).forwarded(forward))
}

/// Services of both families with backends of both.
fn services(forward: &'static str) -> Vec<Service> {
    let [v4, v6] = Family::ALL;
    [(vip(v4), v4), (vip(v6), v6), (second_vip(v4), v6), (second_vip(v6), v4)]
        .into_iter()
        .flat_map(|(target, backends)| pair(target, backends, forward))
        .collect()
}

fn targets() -> [SocketAddr; 4] {
    let [v4, v6] = Family::ALL;
    [vip(v4), vip(v6), second_vip(v4), second_vip(v6)]
}

/// Runs `lbctl decap` on a backend.
fn decap(site: &Site, number: u8, words: &str) -> Said {
    let lbctl = Lbctl::new(site.topology.backend(number)).unwrap();
    let mut arguments = vec!["-o", "json", "decap"];
    arguments.extend(words.split(' '));
    said::by(lbctl.command(&arguments))
}

#[track_caller]
fn attach(site: &Site, words: &str) {
    for (number, _) in site.topology.backends() {
        let answer = decap(site, number, &format!("attach eth0 {words}"));
        assert_eq!(answer.code, 0, "{words}: {answer:?}");
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

#[test]
fn gue_reaches_all_backends_in_all_combinations_of_families() {
    for mode in ["native", "generic"] {
        let config = Config::of(services("gue")).set("xdp_mode", &format!("\"{mode}\""));
        let site = Site::new(2).run(&config);
        let client = &site.topology.client;
        for target in targets() {
            expect_spread(&spread(PORTS, |port| ask_tcp(client, port, target)), &WEIGHTS);
            expect_spread(&spread(PORTS, |port| ask_udp(client, port, target)), &WEIGHTS);
            let download = Download::start(client, target, 2_000_000, 0).unwrap();
            let end = download.finish(PATIENCE).unwrap();
            let is_complete = matches!(end, DownloadLine::Complete { bytes: 2_000_000 });
            assert!(is_complete, "{mode}, {target}: {end:?}");
            let content = [0x5a; 1400];
            let echo = exchange(client, 30_000, target, &content).unwrap();
            assert!(echo.ends_with(&content), "{mode}, {target}: {} bytes", echo.len());
        }
    }
}

#[test]
fn both_ends_have_to_name_the_same_port() {
    let config = Config::of(services("gue")).set("gue_port", "6666");
    let site = Site::new(2).run(&config);
    let client = &site.topology.client;
    // The usual port is what the far ends were told when they were opened.
    for target in targets() {
        ask_udp(client, 20_000, target).expect_err("a closed port");
    }
    assert_eq!((count(&site, "opened"), count(&site, "malformed")), (0, 0));
    let from = Family::ALL.map(address::balancer);
    attach(&site, &format!("--gue-port 6666 --from {} --from {}", from[0], from[1]));
    for target in targets() {
        ask_udp(client, 20_000, target).unwrap();
    }
    assert!(count(&site, "opened") >= 4);
    attach(&site, &format!("--gue-port 0 --from {} --from {}", from[0], from[1]));
    for target in targets() {
        ask_udp(client, 20_000, target).expect_err("no port");
    }
}

/// The far ends permit half of the prefix: half of the flows pass, which ones their hash says.
#[test]
fn tunnels_come_from_all_addresses_of_a_prefix() {
    for forward in ["gue", "ipip"] {
        let config = Config::of(services(forward))
            .set("tunnel_sources", "[\"10.9.8.0/24\", \"fd00:9::/112\"]");
        let mut site = Site::new(2);
        site.start(&config);
        site.until_all_are("up");
        attach(&site, "--from 10.9.8.0/24 --from fd00:9::/112");
        let client = &site.topology.client;
        for target in targets() {
            expect_spread(&spread(PORTS, |port| ask_tcp(client, port, target)), &WEIGHTS);
        }
        assert_eq!(count(&site, "foreign_source"), 0);
        let before = count(&site, "opened");
        attach(&site, "--from 10.9.8.0/25 --from fd00:9::/113");
        // Sent without waiting for answers, of which there are only half as many.
        for target in targets() {
            for port in 30_000..30_100 {
                send(client, port, target, 10);
            }
        }
        let (opened, refused) = site.until("all tunnels to arrive", || {
            let opened = count(&site, "opened") - before;
            let refused = count(&site, "foreign_source");
            let is_all = opened + refused >= 400;
            is_all.then_some((opened, refused)).ok_or_else(|| format!("{opened}, {refused}"))
        });
        println!("{forward}: {opened} opened, {refused} refused");
        // Four standard deviations of 400 tosses of a coin.
        assert!(opened.abs_diff(refused) <= 80, "{opened}, {refused}");
    }
}

/// What an earlier version has pinned, or what is not as it should be, is not used again; the
/// attachment is.
#[test]
fn maps_of_another_shape_are_replaced_without_a_gap() {
    let site = Site::new(2).run(&Config::of(services("gue")));
    let client = &site.topology.client;
    let backend = site.topology.backend(1);
    let from = Family::ALL.map(address::balancer);
    let words = format!("--from {} --from {}", from[0], from[1]);
    let pins = |path: &str| backend.path(format!("/sys/fs/bpf/lb/{path}"));
    let link = |path: &str| fs::metadata(pins(path)).is_ok();

    // As an earlier version leaves it: attachment and maps in one directory.
    fs::create_dir_all(pins("decap-v1/eth0")).unwrap();
    fs::rename(pins("decap/eth0/link"), pins("decap-v1/eth0/link")).unwrap();
    for name in ["DECAP_SOURCES", "DECAP_ADDRESSES", "DECAP_VERDICTS"] {
        let former = pins(&format!("decap-v1/eth0/{name}"));
        fs::rename(pins(&format!("decap/eth0/v2/{name}")), former).unwrap();
    }
    fs::remove_dir_all(pins("decap")).unwrap();
    let shown = decap(&site, 1, "show");
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("another version of lb opens tunnels on `eth0`"), "{shown:?}");
    let before = xdp::program(backend, "eth0").expect("a program");
    attach(&site, &words);
    let after = xdp::program(backend, "eth0").expect("a program");
    assert_ne!(before.id, after.id);
    assert!(link("decap/eth0/link") && !link("decap-v1"));

    // Another interface's does not hide this one's.
    fs::create_dir_all(pins("decap-v1/eth9")).unwrap();
    let shown = decap(&site, 1, "show");
    assert_eq!(shown.code, 1, "{shown:?}");
    assert!(shown.stderr.contains("opens tunnels on `eth9`"), "{shown:?}");
    assert!(!shown.stderr.contains("`eth0`") && shown.stdout.contains("opened"), "{shown:?}");
    fs::remove_dir_all(pins("decap-v1")).unwrap();

    fs::remove_file(pins("decap/eth0/v2/DECAP_GUE_PORT")).unwrap();
    attach(&site, &words);
    for target in targets() {
        expect_spread(&spread(PORTS, |port| ask_udp(client, port, target)), &WEIGHTS);
    }
    for (number, _) in site.topology.backends() {
        assert_eq!(decap(&site, number, "detach eth0").code, 0);
    }
    assert_eq!(xdp::pins(backend), [""; 0]);
}
