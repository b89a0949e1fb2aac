//! How long flows keep the backend that they had before a change.

use std::time::{Duration, Instant};

use lb_tests::address::{self, Family};

use crate::site::{
    Site,
    client::Connection,
    config::{Config, Service},
    vip,
};

const GRACE: Duration = Duration::from_secs(1);

/// A web service with two backends, a third that can join, and a short grace.
fn site() -> Site {
    let web = Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=2);
    Site::running(3, &Config::of([web.key("flow_grace = \"1s\"")]))
}

fn add_third(site: &Site) {
    let name = format!("web/{}", address::backend(Family::V4, 3));
    site.ask(&["backend", "add", &name]);
    site.until_is(&name, "up");
}

fn connect(site: &Site) -> Vec<(Connection, String)> {
    let open = |port| {
        let mut connection =
            Connection::open(&site.topology.client, port, vip(Family::V4)).unwrap();
        let server = connection.who().unwrap();
        (connection, server)
    };
    (20_000..20_030).map(open).collect()
}

#[track_caller]
fn expect_unbroken(connections: &mut [(Connection, String)]) {
    for (connection, server) in connections {
        let port = connection.source.port();
        let now = connection.who();
        let now = now.unwrap_or_else(|error| panic!("port {port}, {server}: {error}"));
        assert_eq!(now, *server, "port {port}");
    }
}

fn disputed(site: &Site) -> u64 {
    let answer = site.json(&["service", "show", "web"]);
    answer["services"][0]["disputed_slots"].as_u64().expect("a number")
}

#[test]
fn slots_without_old_flows_are_settled_after_the_grace() {
    let site = site();
    assert_eq!(disputed(&site), 0);
    add_third(&site);
    assert!(disputed(&site) > 0);
    site.until("the slots to be settled", || match disputed(&site) {
        0 => Ok(()),
        left => Err(format!("{left} are disputed")),
    });
}

#[test]
fn flows_that_go_on_outlive_the_grace() {
    let site = site();
    let mut connections = connect(&site);
    add_third(&site);
    let added = Instant::now();
    while added.elapsed() < 4 * GRACE {
        expect_unbroken(&mut connections);
    }
    // The few slots that they are in are all that is left.
    let left = disputed(&site);
    assert!((1..=connections.len() as u64).contains(&left), "{left} are disputed");
}

#[test]
fn idle_flows_of_a_draining_backend_outlive_the_grace() {
    let site = site();
    let mut connections = connect(&site);
    site.ask(&["backend", "drain", "web/10.0.1.11"]);
    connections.retain(|(_, server)| server == "be1");
    assert!(!connections.is_empty());
    let drained = Instant::now();
    site.until("the grace to be over", || {
        (drained.elapsed() > 3 * GRACE).then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    expect_unbroken(&mut connections);
    // It drains until it is ready again, and then the slots are its own as before.
    site.ask(&["backend", "ready", "web/10.0.1.11"]);
    expect_unbroken(&mut connections);
}
