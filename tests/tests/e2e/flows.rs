//! Which backend a flow has, and that changes move no more flows than they must.

use std::collections::BTreeMap;

use lb_tests::{
    Download, Load,
    address::{self, Family},
    report::DownloadLine,
};

use crate::site::{
    PATIENCE, Site,
    client::{
        Connection, ask_tcp, ask_udp, expect_none_failed, expect_spread, source, spread, watch,
    },
    config::{Config, Service},
    server_at, vip,
};

const PORTS: std::ops::Range<u16> = 20_000..20_300;

/// Web and echo in both families, with so many backends of one weight.
fn config(backends: u8) -> Config {
    Config::of(Family::ALL.into_iter().flat_map(|family| {
        let web = Service::tcp(&format!("web-{family}"), vip(family));
        let echo = Service::udp(&format!("echo-{family}"), vip(family));
        [web, echo].map(|service| service.to(family, 1..=backends))
    }))
}

/// SERVICE/ADDRESS of the web service.
fn web(family: Family, number: u8) -> String {
    format!("web-{family}/{}", address::backend(family, number))
}

/// Connections of which every backend has some, with who serves each.
fn connections(site: &Site, family: Family) -> Vec<(Connection, String)> {
    let open = |port| {
        let mut connection = Connection::open(&site.topology.client, port, vip(family)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    (10_000..10_040).map(open).collect()
}

/// Every connection still leads to its server.
#[track_caller]
fn expect_unbroken(when: &str, connections: &mut [(Connection, String)]) {
    for (connection, server) in connections {
        let port = connection.source.port();
        let now = connection.who();
        let now = now.unwrap_or_else(|error| panic!("{when}, port {port}, {server}: {error}"));
        assert_eq!(now, *server, "{when}, port {port}");
    }
}

fn spread_of(site: &Site, family: Family) -> BTreeMap<String, u32> {
    spread(PORTS, |port| ask_tcp(&site.topology.client, port, vip(family)))
}

#[test]
fn a_drained_backend_keeps_its_download_and_gets_nothing_new() {
    const BYTES: u64 = 2_000_000;
    let site = Site::running(3, &config(3));
    let client = &site.topology.client;
    for family in Family::ALL {
        let download = Download::start(client, vip(family), BYTES, 2).unwrap();
        let server = download.backend().to_owned();
        let number = server.trim_start_matches("be").parse().unwrap();
        site.ask(&["backend", "drain", &web(family, number)]);
        let answers = spread_of(&site, family);
        assert!(!answers.contains_key(&server), "{server} is drained: {answers:?}");
        assert_eq!(answers.len(), 2, "{answers:?}");
        let end = download.finish(PATIENCE).unwrap();
        let is_complete = matches!(end, DownloadLine::Complete { bytes: BYTES });
        assert!(is_complete, "{family}: {end:?}");

        site.ask(&["backend", "ready", &web(family, number)]);
        assert!(spread_of(&site, family).contains_key(&server));
    }
}

#[test]
fn changes_break_no_connection() {
    let site = Site::running(4, &config(3));
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    for family in Family::ALL {
        let mut open = connections(&site, family);
        for words in [
            format!("backend add {}", web(family, 4)),
            format!("backend weight {} 10", web(family, 1)),
            format!("backend drain {}", web(family, 2)),
            format!("backend ready {}", web(family, 2)),
            format!("backend weight {} --reset", web(family, 1)),
            // Its connections stay for a while.
            format!("backend remove {}", web(family, 3)),
        ] {
            site.ask(&words.split(' ').collect::<Vec<_>>());
            expect_unbroken(&words, &mut open);
        }
    }
    watch(&load, 0, 100);
    expect_none_failed(&load, 0);
}

/// P3 of the design: what moves is what must move, and 10 % of that.
#[test]
fn changes_move_few_more_slots_than_they_must() {
    let site = Site::running(4, &config(3));
    let slots = site.json(&["service", "show", "web-IPv4"])["services"][0]["slots"].clone();
    let slots = slots.as_f64().unwrap();
    let moved_by = |change: &dyn Fn()| {
        let count = || site.metrics().sum("lb_table_disrupted_slots_total", &[]);
        let before = count();
        change();
        (count() - before) as f64 / slots
    };
    let say = |verb: &str, number| site.ask(&["backend", verb, &web(Family::V4, number)]);

    let added = moved_by(&|| {
        say("add", 4);
        site.until_is(&web(Family::V4, 4), "up");
    });
    let equal = ["be1", "be2", "be3", "be4"].map(|server| (server, 1.0));
    expect_spread(&spread_of(&site, Family::V4), &equal);
    assert!((0.24..0.25 * 1.25).contains(&added), "an addition moved {added} of all slots");
    for verb in ["drain", "ready", "maint", "ready"] {
        let moved = moved_by(&|| {
            say(verb, 2);
        });
        assert!(moved <= 0.25 * 1.1, "{verb} moved {moved} of all slots");
        assert!(moved >= 0.25 * 0.9, "{verb} moved {moved} of all slots");
    }
}

#[test]
fn weights_change_shares() {
    let site = Site::running(3, &config(3));
    let change = |number, weight: &str| {
        site.ask(&["backend", "weight", &web(Family::V6, number), weight]);
    };
    change(1, "300");
    change(2, "200");
    expect_spread(&spread_of(&site, Family::V6), &[("be1", 3.0), ("be2", 2.0), ("be3", 1.0)]);
    change(3, "0");
    expect_spread(&spread_of(&site, Family::V6), &[("be1", 3.0), ("be2", 2.0)]);
    change(3, "--reset");
    change(1, "--reset");
    change(2, "--reset");
    let equal = ["be1", "be2", "be3"].map(|server| (server, 1.0));
    expect_spread(&spread_of(&site, Family::V6), &equal);
}

/// Asks first where a flow will go, then sends it.
#[test]
fn lookup_knows_where_packets_go() {
    let site = Site::running(4, &config(3));
    let client = &site.topology.client;
    let look_up = |family, protocol: &str, port: u16| {
        let target = vip(family);
        let (from, to) = (source(target, port).to_string(), target.to_string());
        site.json(&["lookup", "--proto", protocol, "--src", &from, "--dst", &to])
    };
    let server = |found: &serde_json::Value, key: &str| {
        server_at(found[key].as_str().unwrap().parse().unwrap())
    };
    for family in Family::ALL {
        let mut open = connections(&site, family);
        for (round, words) in [
            ("as configured", None),
            ("a backend more", Some(format!("backend add {}", web(family, 4)))),
            ("a backend drained", Some(format!("backend drain {}", web(family, 1)))),
        ] {
            if let Some(words) = words {
                site.ask(&words.split(' ').collect::<Vec<_>>());
            }
            // A new backend joins when its next hop is known, which must not be between two questions.
            if round == "a backend more" {
                site.until_is(&web(family, 4), "up");
            }
            for port in 30_000..30_025 {
                let found = look_up(family, "tcp", port);
                let answered = ask_tcp(client, port, vip(family)).unwrap();
                assert_eq!(server(&found, "new_flows"), answered, "{round}, {port}: {found}");
                let found = look_up(family, "udp", port);
                let answered = ask_udp(client, port, vip(family)).unwrap();
                assert_eq!(server(&found, "backend"), answered, "{round}, {port}: {found}");
            }
            for (connection, at) in &mut open {
                let found = look_up(family, "tcp", connection.source.port());
                assert_eq!(server(&found, "backend"), *at, "{round}: {found}");
                assert_eq!(connection.who().unwrap(), *at, "{round}: {found}");
            }
        }
    }
}
