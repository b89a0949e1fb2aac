//! What services ask for beyond sending packets to backends, with real clients.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_tests::address::{self, Family};

use crate::site::{
    Site,
    client::{Connection, ask_tcp, ask_udp},
    config::{Config, Service},
    second_vip, vip,
};

const FAMILIES: [Family; 2] = Family::ALL;

/// Packets with a verdict, by its reason.
fn packets(site: &Site, reason: &str) -> u64 {
    site.metrics().sum("lb_xdp_packets_total", &[("reason", reason)])
}

/// A web service of each family with this line.
fn web(line: impl Fn(Family) -> String) -> Config {
    Config::of(FAMILIES.map(|family| {
        let name = format!("web-{family}");
        Service::tcp(&name, vip(family)).key(&line(family)).to(family, 1..=1)
    }))
}

fn ask(site: &Site, port: u16, target: SocketAddr) -> io::Result<String> {
    ask_tcp(&site.topology.client, port, target)
}

#[test]
fn who_is_denied_gets_no_answer_until_a_reload_allows_it() {
    let client = |family| address::client(family).to_string();
    let site = Site::running(1, &web(|family| format!("deny = [\"{}\"]", client(family))));
    for family in FAMILIES {
        let error = ask(&site, 10_000, vip(family)).expect_err("denied");
        assert_ne!(error.kind(), ErrorKind::ConnectionRefused, "nobody tells");
        let source = SocketAddr::new(address::client(family), 10_000).to_string();
        let destination = vip(family).to_string();
        let said = site.lbctl(&["lookup", "--src", &source, "--dst", &destination]);
        assert!(said.code == 1 && said.stderr.contains("does not allow"), "{said:?}");
    }
    assert!(packets(&site, "source_denied") >= 2);
    let name = format!("web-{}", Family::V4);
    let shown = site.json(&["service", "show", &name]);
    let denied = format!("{}/32", client(Family::V4));
    assert_eq!(shown["services"][0]["policy"]["deny"][0], denied.as_str(), "{shown}");
    assert!(site.ask(&["service", "show", &name]).contains("denied"));

    site.write_config(&web(|family| format!("allow = [\"{}\"]", client(family))).to_string());
    site.hang_up();
    for family in FAMILIES {
        site.until("the client to be allowed", || {
            ask(&site, 10_001, vip(family)).map_err(|error| error.to_string())
        });
    }
}

#[test]
fn a_limit_holds_for_new_connections_and_over_a_restart() {
    const BURST: u16 = 5;

    // So slow in the long run that hardly any comes back while the test runs.
    let limit = "max_new_flows_per_source = \"1/m\"\nnew_flow_burst_per_source = 5";
    let config = web(|_| limit.to_owned());
    let mut site = Site::running(1, &config);
    let client = &site.topology.client;
    let open = |port| Connection::open(client, port, vip(Family::V4));
    let mut opened: Vec<_> = (0..BURST).map(|number| open(10_000 + number).unwrap()).collect();
    // One comes back in a minute: slow machines may have to ask more than once.
    let is_refused =
        |ports: std::ops::Range<u16>| ports.into_iter().any(|port| open(port).is_err());
    assert!(is_refused(10_100..10_103), "one too many");
    for connection in &mut opened {
        assert_eq!(connection.who().unwrap(), "be1", "those that have begun go on");
    }
    assert!(packets(&site, "source_limited") > 0);
    assert_eq!(ask(&site, 10_000, vip(Family::V6)).unwrap(), "be1", "another service");
    site.kill_lbd();
    site.start(&config);
    site.until_all_are("up");
    // A full bucket would let all of these in.
    let mut ports = 10_200..10_200 + BURST;
    let error = ports.find_map(|port| ask(&site, port, vip(Family::V4)).err());
    let error = error.expect("the policy is the same");
    assert_ne!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_service_without_a_backend_refuses_at_once() {
    let services = FAMILIES.into_iter().flat_map(|family| {
        let tcp = Service::tcp(&format!("web-{family}"), vip(family));
        let udp = Service::udp(&format!("echo-{family}"), vip(family));
        // Every other port of an address whose services have backends.
        let rest = SocketAddr::new(second_vip(family).ip(), 0);
        let rest = Service::tcp(&format!("rest-{family}"), rest);
        [tcp, udp, rest].map(|service| service.key("no_backend = \"refuse\""))
    });
    let served = FAMILIES.map(|family| {
        Service::tcp(&format!("served-{family}"), second_vip(family)).to(family, 1..=1)
    });
    let mut site = Site::new(1);
    site.start(&Config::of(services.chain(served)));
    site.until_all_are("up");
    let client = &site.topology.client;
    for family in FAMILIES {
        let closed = SocketAddr::new(second_vip(family).ip(), 81);
        for target in [vip(family), closed] {
            let before = Instant::now();
            let error = ask(&site, 10_000, target).expect_err("nobody is there");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{target}: {error}");
            assert!(before.elapsed() < Duration::from_millis(500), "{:?}", before.elapsed());
        }
        let error = ask_udp(client, 10_000, vip(family)).expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
        assert_eq!(ask(&site, 10_000, second_vip(family)).unwrap(), "be1");
    }
    assert!(packets(&site, "refused") >= 6);
}

#[test]
fn remembered_clients_keep_their_backend_while_others_come() {
    let config = Config::of(FAMILIES.map(|family| {
        let name = format!("echo-{family}");
        Service::udp(&name, vip(family)).key("udp_flows = \"remember\"").to(family, 1..=1)
    }));
    let site = Site::new(3).run(&config);
    let client = &site.topology.client;
    for family in FAMILIES {
        let ask = |port| ask_udp(client, port, vip(family)).unwrap();
        assert!((10_000..10_030).all(|port| ask(port) == "be1"));
        for number in [2, 3] {
            let name = format!("echo-{family}/{}", address::backend(family, number));
            site.ask(&["backend", "add", &name]);
            site.until_is(&name, "up");
        }
        let drained = format!("echo-{family}/{}", address::backend(family, 1));
        site.ask(&["backend", "drain", &drained]);
        assert!((10_000..10_030).all(|port| ask(port) == "be1"), "flows that there are stay");
        assert!((11_000..11_030).all(|port| ask(port) != "be1"), "it is drained");
        let source = SocketAddr::new(address::client(family), 10_000).to_string();
        let flow =
            ["lookup", "--proto", "udp", "--src", &source, "--dst", &vip(family).to_string()];
        assert!(site.ask(&flow).contains("the flow is remembered"));
        site.ask(&["backend", "remove", &drained]);
        assert!((10_000..10_030).all(|port| ask(port) != "be1"), "it is gone");
    }
}

#[test]
fn ranges_and_prefixes_reach_their_backends() {
    let mut site = Site::new(1);
    let family = Family::V4;
    let address = second_vip(family).ip();
    let prefix = format!("{address}/24").parse::<ipnet::IpNet>().unwrap().trunc();
    let target = second_vip(family);
    site.start(&Config::of([]));
    site.ask(&[
        "service",
        "add",
        "range",
        "--vip",
        &prefix.to_string(),
        "--port",
        "50-100",
        "--forward",
        "l2",
        "--max-new-flows",
        "1000/s",
        "--no-backend",
        "refuse",
        "--ping",
        "answer",
    ]);
    let name = format!("range/{}", address::backend(family, 1));
    site.ask(&["backend", "add", &name]);
    site.until_is(&name, "up");
    assert_eq!(ask(&site, 10_000, target).unwrap(), "be1");
    let shown = site.json(&["service", "list"]);
    let item = &shown["services"][0];
    assert_eq!((&item["port"], &item["last_port"]), (&50.into(), &100.into()), "{shown}");
    assert_eq!(item["vip"], prefix.to_string().as_str());
    assert_eq!(item["policy"]["max_new_flows"]["rate"], "1000/s");
    assert!(site.ask(&["service", "list"]).contains(&format!("{prefix}:50-100")));
    let said = site.lbctl(&[
        "service",
        "add",
        "other",
        "--vip",
        &prefix.to_string(),
        "--port",
        "100-110",
        "--forward",
        "l2",
    ]);
    assert!(said.code == 5 && said.stderr.contains("overlaps 50-100"), "{said:?}");
    // Rules and prefixes lie in maps that a new daemon has to read back.
    let denied = address::client(family).to_string();
    let key = ["service", "add", "denied", "--vip", &address.to_string(), "--port", "90"];
    site.ask(&[&key[..], &["--forward", "l2", "--deny", &denied]].concat());
    for restarts in 0..3 {
        let closed = SocketAddr::new(address, 90);
        let before = packets(&site, "source_denied");
        ask(&site, 10_100 + restarts, closed).expect_err("denied");
        assert!(packets(&site, "source_denied") > before, "restart {restarts}");
        assert_eq!(ask(&site, 10_200 + restarts, target).unwrap(), "be1");
        site.kill_lbd();
        site.start_lbd();
        assert_eq!(site.json(&["status"])["adopted"], true);
    }
    site.ask(&["service", "remove", "range"]);
    assert!(ask(&site, 10_300, target).is_err(), "it is the load balancer's own again");
}
