//! Checks of all kinds, of servers that are not ours: HAProxy, nginx, dnsmasq, a gRPC server. What
//! they say decides who gets flows, and `lbctl` names it.

mod agents;
mod certificates;
mod dns;
mod grpc;
mod haproxy;
mod machine;
mod nginx;
mod path;
mod servers;

use std::net::SocketAddr;

use lb_tests::address::{self, Family};
use serde_json::Value;

use crate::site::{
    Site,
    config::{Config, Service},
};

/// The word for a check that passed, whatever it asked.
const PASSED: &str = "L4OK";

/// A check of this type, with further keys: slow enough for a busy machine.
fn check(kind: &str, keys: &str) -> String {
    let timing = "interval = \"200ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 3";
    format!("type = \"{kind}\"\n{timing}\n{keys}")
}

/// Services with backend 1, each with a port of its own and its own check.
fn config<'a>(checks: impl IntoIterator<Item = (&'a str, String)>) -> Config {
    Config::of(checks.into_iter().zip(FIRST_PORT..).map(|((name, check), port)| {
        Service::tcp(name, target(port)).to(Family::V4, 1..=1).table("health_check", &check)
    }))
}

/// The port of the first of several services.
const FIRST_PORT: u16 = 80;

/// A port of the first service's address.
fn target(port: u16) -> SocketAddr {
    SocketAddr::new(address::service(Family::V4, 1), port)
}

/// A backend's name, SERVICE/ADDRESS.
fn name(service: &str, number: u8) -> String {
    format!("{service}/{}", address::backend(Family::V4, number))
}

/// What `lbctl` shows of the backend with this name.
#[track_caller]
fn shown(site: &Site, name: &str) -> Value {
    site.json(&["backend", "show", name])["backends"][0].clone()
}

/// Waits until what `lbctl` shows of the backend with this name is as wanted, and returns it.
#[track_caller]
fn until_shown(site: &Site, name: &str, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    site.until(&format!("{name}: {what}"), || {
        let shown = shown(site, name);
        if is_wanted(&shown) { Ok(shown) } else { Err(shown.to_string()) }
    })
}

/// Waits until backend 1 of these services is up.
#[track_caller]
fn until_up(site: &Site, services: &[&str]) {
    for service in services {
        until_shown(site, &name(service, 1), "up", is_up);
    }
}

/// Whether a backend is up and has passed its last check.
fn is_up(shown: &Value) -> bool {
    shown["state"] == "up" && shown["checks"][0]["code"] == PASSED
}

/// Waits until backend 1 of a service is down for this reason, and its last check has this code.
#[track_caller]
fn until_down(site: &Site, service: &str, why: &str, code: &str) {
    until_shown(site, &name(service, 1), &format!("down, {code}: {why}"), |shown| {
        is_down(shown, why, code)
    });
}

/// Whether a backend is down for this reason, and its last check has this code.
fn is_down(shown: &Value, why: &str, code: &str) -> bool {
    let says = |text: &Value| text.as_str().is_some_and(|text| text.contains(why));
    let last = &shown["checks"][0];
    shown["state"] == "down"
        && says(&shown["reason"])
        && last["code"] == code
        && says(&last["failure"])
}
