//! How new flows find their backend, where the hash alone does not say it.

mod slow;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    ops::Range,
    thread,
};

use lb_tests::address::{self, Family};

use crate::site::{
    Site,
    client::{Connection, ask_tcp, ask_udp, expect_spread, spread},
    config::{Config, Service},
    second_vip,
    talk::Talks,
    vip,
};
use slow::{Ending, Slow, Word};

/// Three backends with the weights 1, 3 and 5, in proportion.
const WEIGHTS: [(&str, f64); 3] = [("be1", 1.0), ("be2", 3.0), ("be3", 5.0)];

fn service(name: &str, vip: SocketAddr, scheduler: &str) -> Service {
    Service::tcp(name, vip).key(&format!("scheduler = \"{scheduler}\""))
}

fn weighted(service: Service, family: Family) -> Service {
    WEIGHTS.iter().zip(1..).fold(service, |service, ((_, weight), number)| {
        service.weighted(address::backend(family, number), *weight as u16 * 100)
    })
}

/// Connections that stay, with who serves each.
fn connect(site: &Site, ports: Range<u16>, target: SocketAddr) -> Vec<(Connection, String)> {
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, target).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    ports.map(open).collect()
}

fn count(connections: &[(Connection, String)]) -> BTreeMap<String, u32> {
    connections.iter().fold(BTreeMap::new(), |mut counts, (_, server)| {
        *counts.entry(server.clone()).or_default() += 1;
        counts
    })
}

#[track_caller]
fn expect_shares(found: &BTreeMap<String, u32>, expected: [u32; 3], leeway: u32) {
    let shares = WEIGHTS.map(|(server, _)| found.get(server).copied().unwrap_or_default());
    let is_close =
        shares.iter().zip(expected).all(|(found, wanted)| found.abs_diff(wanted) <= leeway);
    assert!(is_close, "{expected:?} expected, give or take {leeway}: {found:?}");
}

#[track_caller]
fn expect_unbroken(when: &str, connections: &mut [(Connection, String)]) {
    for (connection, server) in connections {
        let now = connection.who();
        let now = now.unwrap_or_else(|error| panic!("{when}, {server}: {error}"));
        assert_eq!(now, *server, "{when}");
    }
}

#[test]
fn turns_and_chance_follow_the_weights() {
    let [v4, v6] = Family::ALL;
    let site = Site::running(
        3,
        &Config::of([
            service("equal", vip(v4), "round-robin").to(v4, 1..=3),
            weighted(service("turns", second_vip(v4), "weighted-round-robin"), v4),
            weighted(service("chance", vip(v6), "weighted-random"), v6),
            weighted(service("any", second_vip(v6), "random"), v6),
        ]),
    );
    let client = &site.topology.client;
    let ask = |ports: Range<u16>, target| spread(ports, |port| ask_tcp(client, port, target));
    expect_shares(&ask(20_000..20_090, vip(v4)), [30, 30, 30], 2);
    expect_shares(&ask(20_000..20_270, second_vip(v4)), [30, 90, 150], 3);
    expect_spread(&ask(20_000..20_600, vip(v6)), &WEIGHTS);
    let equal = WEIGHTS.map(|(server, _)| (server, 1.0));
    expect_spread(&ask(20_000..20_300, second_vip(v6)), &equal);
    let shown = site.ask(&["service", "show", "turns"]);
    assert!(shown.contains("scheduler  weighted-round-robin"), "{shown}");
    let metrics = site.metrics();
    assert!(metrics.sum("lb_flow_cache_inserts_total", &[]) >= 1260, "{}", metrics.text());
    assert_eq!(metrics.sum("lb_flow_cache_refusals_total", &[]), 0);
}

#[test]
fn whoever_has_the_fewest_connections_gets_the_next() {
    let [v4, v6] = Family::ALL;
    let site = Site::running(
        3,
        &Config::of([
            service("least", vip(v4), "least-connections").to(v4, 1..=2),
            weighted(service("weighted", second_vip(v4), "weighted-least-connections"), v4),
            weighted(service("two", vip(v6), "two-choices"), v6),
        ]),
    );
    let heavy = connect(&site, 12_000..12_090, second_vip(v4));
    expect_shares(&count(&heavy), [10, 30, 50], 1);
    let two = connect(&site, 10_000..10_090, vip(v6));
    expect_shares(&count(&two), [10, 30, 50], 8);

    let (first, second): (Vec<_>, Vec<_>) = connect(&site, 10_000..10_020, vip(v4))
        .into_iter()
        .partition(|(_, server)| server == "be1");
    assert_eq!((first.len(), second.len()), (10, 10));
    drop(first);
    let next = connect(&site, 10_020..10_030, vip(v4));
    assert_eq!(count(&next), BTreeMap::from([("be1".to_owned(), 10)]), "the idle one");
    // The daemon's own count agrees with what packets counted.
    let busy = |number| {
        let name = format!("least/{}", address::backend(v4, number));
        site.json(&["backend", "show", &name])["backends"][0]["flows"].as_u64()
    };
    for _ in 0..3 {
        thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!([busy(1), busy(2)], [Some(10); 2]);
    }
}

#[test]
fn connections_outlive_changes_of_members_scheduler_and_daemon() {
    let family = Family::V4;
    let config = |scheduler: &str, backends| {
        Config::of([service("web", vip(family), scheduler).to(family, 1..=backends)])
    };
    let mut site = Site::running(3, &config("round-robin", 2));
    let mut open = connect(&site, 10_000..10_040, vip(family));
    let talks = Talks::start(&site.topology.client, 11_000..11_020, vip(family));
    let reload = |site: &Site, scheduler: &str, backends| {
        site.write_config(&config(scheduler, backends).to_string());
        site.hang_up();
        site.until("the new scheduler", || {
            let shown = site.json(&["service", "show", "web"]);
            let service = &shown["services"][0];
            let is_there = service["scheduler"] == scheduler && service["backends"] == backends;
            is_there.then_some(()).ok_or_else(|| shown.to_string())
        });
    };
    reload(&site, "round-robin", 3);
    expect_unbroken("a backend more", &mut open);
    for scheduler in ["least-connections", "consistent-hash", "random"] {
        reload(&site, scheduler, 3);
        expect_unbroken(scheduler, &mut open);
    }
    reload(&site, "two-choices", 3);
    site.kill_lbd();
    expect_unbroken("nobody there", &mut open);
    site.start_lbd();
    expect_unbroken("a new daemon", &mut open);
    let drained = format!("web/{}", address::backend(family, 1));
    site.ask(&["backend", "drain", &drained]);
    expect_unbroken("a drain", &mut open);
    talks.finish();
}

#[test]
fn datagrams_of_a_flow_stay_while_flows_take_turns() {
    let family = Family::V4;
    let udp = Service::udp("echo", vip(family)).key("scheduler = \"round-robin\"");
    let site = Site::running(3, &Config::of([udp.to(family, 1..=3)]));
    let ask = |port| ask_udp(&site.topology.client, port, vip(family)).unwrap();
    let first: Vec<String> = (20_000..20_030).map(ask).collect();
    let again: Vec<String> = (20_000..20_030).map(ask).collect();
    assert_eq!(first, again);
    let counts = first.iter().fold(BTreeMap::new(), |mut counts, server| {
        *counts.entry(server.clone()).or_default() += 1;
        counts
    });
    expect_shares(&counts, [10, 10, 10], 1);
}

#[test]
fn clients_keep_their_backend() {
    let [v4, v6] = Family::ALL;
    let timeout = "affinity = { ipv4_prefix = 24, timeout = \"10m\" }";
    let site = Site::running(
        3,
        &Config::of([
            service("sticky", vip(v4), "source-hash").key(timeout).to(v4, 1..=1),
            service("hashed", vip(v6), "source-hash").to(v6, 1..=3),
        ]),
    );
    let client = &site.topology.client;
    let one_for_all = |ports: Range<u16>, target| {
        let answers = spread(ports, |port| ask_tcp(client, port, target));
        assert_eq!(answers.len(), 1, "one client, one backend: {answers:?}");
        answers.into_keys().next().expect("one")
    };
    one_for_all(20_000..20_050, vip(v6));
    assert_eq!(one_for_all(20_000..20_050, vip(v4)), "be1");
    for number in [2, 3] {
        let name = format!("sticky/{}", address::backend(v4, number));
        site.ask(&["backend", "add", &name]);
        site.until_is(&name, "up");
    }
    assert_eq!(one_for_all(20_050..20_100, vip(v4)), "be1", "it is remembered");
    site.ask(&["backend", "drain", &format!("sticky/{}", address::backend(v4, 1))]);
    assert_ne!(one_for_all(20_100..20_150, vip(v4)), "be1", "it takes nobody any more");
    let shown = site.ask(&["service", "show", "sticky"]);
    assert!(shown.contains("source-hash, by /24, clients remembered for 10m00s"), "{shown}");
}

#[test]
fn backups_serve_while_no_primary_can_and_nothing_breaks() {
    let family = Family::V4;
    let name = |number| format!("web/{}", address::backend(family, number));
    let site = Site::new(3);
    let web = service("web", vip(family), "primary-backup").to(family, 1..=1);
    let backups = (2..=3).map(|number| {
        let address = address::backend(family, number);
        format!("[[service.backend]]\naddress = \"{address}\"\npriority = {}\n", number - 1)
    });
    site.write_config(&(Config::of([web]).to_string() + &backups.collect::<String>()));
    let mut site = site;
    site.start_lbd();
    site.until_is(&name(1), "up");
    let standby = site.until_is(&name(2), "standby");
    assert_eq!(standby.reason, "standby: priority 0 serves");

    let client = &site.topology.client;
    let ask = |ports: Range<u16>| spread(ports, |port| ask_tcp(client, port, vip(family)));
    let only = |server: &str, count| BTreeMap::from([(server.to_owned(), count)]);
    assert_eq!(ask(20_000..20_030), only("be1", 30));
    let primary = Talks::start(client, 11_000..11_020, vip(family));
    site.ask(&["backend", "drain", &name(1)]);
    site.until_is(&name(2), "up");
    assert_eq!(ask(20_030..20_060), only("be2", 30));
    let backup = Talks::start(client, 12_000..12_020, vip(family));
    site.ask(&["backend", "maint", &name(3)]);
    site.ask(&["backend", "ready", &name(1)]);
    site.until_is(&name(2), "standby");
    assert_eq!(ask(20_060..20_090), only("be1", 30));
    primary.finish();
    backup.finish();
}

#[test]
fn whoever_answers_faster_gets_more() {
    const CHECKED: u16 = 81;
    let family = Family::V4;
    let web = service("web", vip(family), "least-response-time").to(family, 1..=2).table(
        "health_check",
        &format!(
            "type = \"tcp\"\nport = {CHECKED}\ninterval = \"2s\"\ntimeout = \"2s\"\nrise = 1\nfall = 3"
        ),
    );
    let mut site = Site::new(2);
    let listen = |number| SocketAddr::new(address::backend(family, number), CHECKED);
    let fast = site.topology.backend(1).enter(|| TcpListener::bind(listen(1))).unwrap();
    site.start(&Config::of([web]));
    let (second, word) = (site.topology.backend(2), Word::default());
    let slow = Slow::listen(second, listen(2));
    thread::scope(|scope| {
        let _ending = Ending(&word);
        scope.spawn(|| slow.serve(second, &word));
        site.until_all_are("up");
        expect_the_fast_one(&site, family);
        word.hurry();
        let before = latency(&site, family, 2);
        site.until("it to recover", || {
            let now = latency(&site, family, 2);
            (now < before * 9 / 10).then_some(()).ok_or_else(|| format!("{before}, then {now}"))
        });
    });
    drop(fast);
}

/// A backend's mean time to answer, in microseconds.
fn latency(site: &Site, family: Family, number: u8) -> u64 {
    let name = format!("web/{}", address::backend(family, number));
    let shown = site.json(&["backend", "show", &name]);
    shown["backends"][0]["latency_microseconds"].as_u64().unwrap_or_default()
}

#[track_caller]
fn expect_the_fast_one(site: &Site, family: Family) {
    let latencies = [1, 2].map(|number| latency(site, family, number));
    assert!(latencies[0] > 0 && latencies[1] > 30 * latencies[0], "{latencies:?}");
    let open = connect(site, 10_000..10_020, vip(family));
    assert_eq!(count(&open), BTreeMap::from([("be1".to_owned(), 20)]));
}
