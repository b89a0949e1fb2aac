//! Backends that pass their checks and fail their clients: what passes by shows it.

use std::time::Duration;

use lb_tests::{Load, Server, clock, waiting};
use serde_json::Value;

use super::{
    CHECK_PORT, ELSEWHERE, FAMILY, delay::Delay, events, own_server, until_explained, web,
};
use crate::site::{
    PATIENCE, Site,
    client::{expect_none_failed, watch},
    config::{Config, Service},
    vip,
};

/// Where backends serve clients behind a translating balancer.
const OWN_PORT: u16 = 8080;

/// Nothing but one rule, and ejections of two seconds.
fn only(rule: &str) -> String {
    let all = ["consecutive_failures = 0", "failure_rate = \"0%\"", "latency_factor = 0.0"];
    let name = rule.split(' ').next().unwrap_or_default();
    let others: Vec<_> = all.into_iter().filter(|line| !line.starts_with(name)).collect();
    format!("{rule}\n{}\ndrift = false\nbase_ejection_time = \"2s\"", others.join("\n"))
}

/// Four translated backends, with a server for clients and one for checks each.
struct Translated {
    // Ends before the site, which looks at its accounts when nothing moves.
    load: Load,
    site: Site,
    clients: Vec<Option<Server>>,
    _checks: Vec<Server>,
}

impl Translated {
    fn new(outlier: &str) -> Self {
        let service = Service::tcp("web", vip(FAMILY)).by_translation(OWN_PORT).to(FAMILY, 1..=4);
        let service = service.table("health_check", ELSEWHERE).table("outlier", outlier);
        let site = Site::new(4);
        let clients = (1..=4).map(|number| Some(own_server(&site, number, OWN_PORT))).collect();
        let checks = (1..=4).map(|number| own_server(&site, number, CHECK_PORT)).collect();
        let site = site.run(&Config::of([service]));
        let load = Load::http(&site.topology.client, vip(FAMILY), 100).unwrap();
        watch(&load, 0, 100);
        Self { load, site, clients, _checks: checks }
    }

    /// Kills what serves clients; what answers checks stays.
    fn refuse(&mut self, number: u8) {
        self.clients[usize::from(number) - 1].take().expect("it serves").kill();
    }

    fn serve(&mut self, number: u8) {
        let server = own_server(&self.site, number, OWN_PORT);
        self.clients[usize::from(number) - 1] = Some(server);
    }

    /// Nobody fails from now on.
    fn expect_good(&self) {
        let mark = clock::now_ms();
        watch(&self.load, mark, 100);
        expect_none_failed(&self.load, mark);
    }
}

#[test]
fn one_that_refuses_all_clients_in_a_row_is_out_each_time_for_longer() {
    let mut it = Translated::new(&only("consecutive_failures = 5"));
    it.refuse(4);
    let reason = until_explained(&it.site, 4, "ejected", "ejected for 2 s (consecutive-failures)");
    let words = " connection attempts in a row failed, the last ones of 0 of 3 others did";
    assert!(reason.ends_with(words), "{reason}");
    let row = it.site.backend(&web(4));
    assert!(row.slots_share.abs() < f64::EPSILON, "{row:?}");
    let shown = it.site.json(&["backend", "show", &web(4)])["backends"][0].clone();
    assert_eq!(shown["health"], "up", "its checks pass: {shown}");
    it.expect_good();
    // It comes back by time alone, and is no better.
    until_explained(&it.site, 4, "ejected", "ejected for 4 s (consecutive-failures)");
    it.serve(4);
    it.site.until_is(&web(4), "up");
    it.expect_good();
    let changes = changes(&it.site);
    let of_it: Vec<_> = changes.iter().filter(|(who, _)| who == "10.0.1.14").collect();
    let states: Vec<_> = of_it.iter().map(|(_, to)| to.as_str()).collect();
    assert!(states.ends_with(&["ejected", "up", "ejected", "up"]), "{states:?}");
    assert!(changes.iter().all(|(who, to)| who == "10.0.1.14" || to != "ejected"), "{changes:?}");
}

/// Who came to which state, oldest first.
fn changes(site: &Site) -> Vec<(String, String)> {
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let changes = events(site).into_iter().filter(|event| event["kind"] == "backend-state");
    changes.map(|event| (word(&event, "backend"), word(&event, "to"))).collect()
}

#[test]
fn the_share_of_clients_that_fail_counts_as_well() {
    let rule = "failure_rate = \"30%\"\nfailure_window = \"2s\"";
    let mut it = Translated::new(&only(rule));
    it.refuse(4);
    let reason = until_explained(&it.site, 4, "ejected", "ejected for 2 s (failure-rate)");
    let is_explained = reason.contains(" connection attempts failed in 2s, ")
        && reason.ends_with(" % is usual among the others");
    assert!(is_explained, "{reason}");
    it.expect_good();
}

#[test]
fn no_more_are_out_at_a_time_than_may_be() {
    let rules = format!("{}\nmax_ejected = \"25%\"", only("consecutive_failures = 5"));
    let mut it = Translated::new(&rules);
    it.refuse(3);
    it.refuse(4);
    let suspects = |site: &Site| {
        let events = events(site).into_iter();
        events.filter(|event| event["kind"] == "backend-suspect").collect::<Vec<_>>()
    };
    let ejections = |site: &Site| changes(site).iter().filter(|(_, to)| to == "ejected").count();
    it.site.until("one to be spared, and two ejections", || {
        let rows = it.site.backends();
        let out = rows.iter().filter(|row| row.state == "ejected").count();
        assert!(out <= 1, "{out} of four are out: {rows:?}");
        let found = (suspects(&it.site), ejections(&it.site));
        (!found.0.is_empty() && found.1 > 1).then_some(()).ok_or_else(|| format!("{found:?}"))
    });
    let suspects = suspects(&it.site);
    let reason = suspects[0]["reason"].as_str().unwrap();
    assert!(reason.contains("connection attempts in a row failed"), "{reason}");
}

/// Answers go past the balancer: that a client has none shows in what it sends.
#[track_caller]
fn finds_one_that_clients_do_not_hear(forward: &'static str) {
    let service = Service::tcp("web", vip(FAMILY)).forwarded(forward).to(FAMILY, 1..=4).checked();
    let rules = only("consecutive_failures = 5");
    let site = Site::running(4, &Config::of([service.table("outlier", &rules)]));
    let load = Load::http(&site.topology.client, vip(FAMILY), 100).unwrap();
    watch(&load, 0, 100);
    let clients = format!("blackhole {}/32", lb_tests::address::client(FAMILY));
    let backend = site.topology.backend(4);
    backend.ip(&format!("route add {clients}")).unwrap();
    let reason = until_explained(&site, 4, "ejected", "ejected for 2 s (consecutive-failures)");
    assert!(reason.contains(" connection attempts in a row failed"), "{reason}");
    let shown = site.json(&["backend", "show", &web(4)])["backends"][0].clone();
    assert_eq!(shown["health"], "up", "its checks pass: {shown}");
    backend.ip(&format!("route del {clients}")).unwrap();
    site.until_is(&web(4), "up");
    let mark = clock::now_ms();
    watch(&load, mark, 100);
    let all = expect_none_failed(&load, mark);
    assert!(all.served.contains_key("be4"), "{all:?}");
    let changes = changes(&site);
    assert!(changes.iter().all(|(who, to)| who == "10.0.1.14" || to != "ejected"), "{changes:?}");
}

#[test]
fn one_that_clients_do_not_hear_is_out_by_direct_routing() {
    finds_one_that_clients_do_not_hear("l2");
}

#[test]
fn one_that_clients_do_not_hear_is_out_behind_a_tunnel() {
    finds_one_that_clients_do_not_hear("ipip");
}

#[test]
fn one_that_is_slow_to_answer_clients_is_out() {
    let it = Translated::new(&only("latency_factor = 3.0"));
    let late = Duration::from_millis(80);
    let _delay = Delay::of_answers(it.site.topology.backend(4), OWN_PORT, late);
    // Eleven seconds must be slow before their median is.
    let reason = waiting::until("the slow one to be out", 4 * PATIENCE, || {
        let row = it.site.backend(&web(4));
        (row.state == "ejected").then(|| row.reason.clone()).ok_or_else(|| format!("{row:?}"))
    });
    let reason = reason.unwrap_or_else(|error| panic!("{error}"));
    let evidence = reason.strip_prefix("ejected for 2 s (latency): handshakes take ");
    let evidence = evidence.unwrap_or_else(|| panic!("{reason}"));
    let took: f64 = evidence.split(' ').next().unwrap().parse().unwrap();
    assert!(took >= 80.0, "{reason}");
    assert!(evidence.ends_with("that are usual among the others"), "{reason}");
    let shown = it.site.json(&["backend", "show", &web(4)])["backends"][0].clone();
    assert_eq!(shown["health"], "up", "its checks are quick: {shown}");
    let changes = changes(&it.site);
    assert!(changes.iter().all(|(who, to)| who == "10.0.1.14" || to != "ejected"), "{changes:?}");
}
