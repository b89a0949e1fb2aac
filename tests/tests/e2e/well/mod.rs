//! Which backends are well, and what becomes of those that are not and of their services.

mod clock;
mod delay;
mod passive;
mod quorum;
mod recovery;
mod uplink;

use std::collections::BTreeMap;

use lb_tests::{
    Server,
    address::{self, Family},
};
use serde_json::Value;

use crate::site::Site;

const FAMILY: Family = Family::V4;

/// A port at which only checks ask: what they find there is another thing than what clients meet.
const CHECK_PORT: u16 = 8081;

/// A check of that port.
const ELSEWHERE: &str =
    "type = \"tcp\"\nport = 8081\ninterval = \"200ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 3";

/// SERVICE/ADDRESS of a backend of `web`.
fn web(number: u8) -> String {
    format!("web/{}", address::backend(FAMILY, number))
}

/// A server in a backend, at a port of its own address alone.
fn own_server(site: &Site, number: u8, port: u16) -> Server {
    let own = std::net::SocketAddr::new(address::backend(FAMILY, number), port);
    Server::start(site.topology.backend(number), [own]).unwrap()
}

/// All that lbd has told, oldest first.
fn events(site: &Site) -> Vec<Value> {
    let said = site.ask(&["-o", "json", "events"]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What events of this kind led to, oldest first.
fn told(site: &Site, kind: &str) -> Vec<String> {
    let events = events(site).into_iter().filter(|event| event["kind"] == kind);
    events.map(|event| event["to"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until the last event of this kind leads there.
#[track_caller]
fn until_told(site: &Site, kind: &str, to: &str) {
    site.until(&format!("{kind} to be {to}"), || {
        let told = told(site, kind);
        (told.last().map(String::as_str) == Some(to))
            .then_some(())
            .ok_or_else(|| format!("{told:?}"))
    });
}

/// Waits until a backend's state is explained by such words, and returns the explanation.
#[track_caller]
fn until_explained(site: &Site, number: u8, state: &str, words: &str) -> String {
    site.until(&format!("{} to be {state}: {words}", web(number)), || {
        let row = site.backend(&web(number));
        let is_so = row.state == state && row.reason.contains(words);
        is_so.then(|| row.reason.clone()).ok_or_else(|| format!("{row:?}"))
    })
}

/// Packets that each of so many backends of `web` has got.
fn packets(site: &Site, backends: u8) -> BTreeMap<u8, u64> {
    let metrics = site.metrics();
    let count = |number| {
        let address = address::backend(FAMILY, number).to_string();
        metrics.sum("lb_backend_packets_total", &[("service", "web"), ("backend", &address)])
    };
    (1..=backends).map(|number| (number, count(number))).collect()
}
