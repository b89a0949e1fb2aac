//! Checks that ask a machine and not a server: pings, and programs of the balancer.

use lb_tests::address::{self, Family};

use super::{check, is_down, is_up, name, servers::put, target, until_shown};
use crate::site::{
    Site,
    config::{Config, Service},
};

#[test]
fn a_machine_that_answers_no_ping_goes_down() {
    let ping = |name, port, family| {
        let service = Service::tcp(name, target(port)).to(family, 1..=2);
        service.table("health_check", &check("icmp", ""))
    };
    let services = [ping("v4", 80, Family::V4), ping("v6", 81, Family::V6)];
    let site = Site::running(2, &Config::of(services));
    let deaf = site.topology.backend(1);
    for (service, family, key) in [
        ("v4", Family::V4, "ipv4/icmp_echo_ignore_all"),
        ("v6", Family::V6, "ipv6/icmp/echo_ignore_all"),
    ] {
        let [name, other] =
            [1, 2].map(|number| format!("{service}/{}", address::backend(family, number)));
        deaf.sysctl(key, "1").unwrap();
        until_shown(&site, &name, "down", |shown| {
            is_down(shown, "no answer within 200 ms", "L7TOUT")
        });
        until_shown(&site, &other, "up", is_up);
        deaf.sysctl(key, "0").unwrap();
        until_shown(&site, &name, "up", is_up);
    }
}

/// Does what the file for the backend says: `exit 0`, for instance.
const PROGRAM: &str = r#"command = ["/bin/sh", "-c", ". /run/$LB_SERVICE-$LB_BACKEND-$LB_PORT"]"#;

/// Has the program of a backend's checks do this from now on.
fn order(site: &Site, number: u8, what: &str) {
    let path = format!("/run/web-{}-80", address::backend(Family::V4, number));
    put(&site.topology.balancer, &path, what);
}

#[test]
fn a_program_decides_on_state_and_weight() {
    let keys = format!("{PROGRAM}\nweight_from_exit = true");
    // A program takes its time to start on a busy machine.
    let check = check("exec", &keys).replace("200ms", "400ms");
    let service = Service::tcp("web", target(80)).to(Family::V4, 1..=2);
    let mut site = Site::new(2);
    order(&site, 1, "exit 0");
    order(&site, 2, "exit 22");
    site.start(&Config::of([service.table("health_check", &check)]));
    let until_weight = |number, weight| {
        let what = format!("up with weight {weight}");
        until_shown(&site, &name("web", number), &what, |shown| {
            is_up(shown) && shown["weight"] == weight && shown["configured_weight"] == 100
        });
    };
    let until_down = |why, code| super::until_down(&site, "web", why, code);
    until_weight(1, 100);
    until_weight(2, 20);
    order(&site, 1, "exit 62");
    until_weight(1, 60);
    let is_near = |share: f64, wanted: f64| (share - wanted).abs() < 0.02;
    site.until_rows("three quarters and one quarter of the slots", |rows| {
        is_near(rows[0].slots_share, 0.75) && is_near(rows[1].slots_share, 0.25)
    });

    order(&site, 1, "echo the disk is full; exit 1");
    until_down("program ended with exit code 1: the disk is full", "PROCERR");
    order(&site, 1, "exit 0");
    until_weight(1, 100);
    order(&site, 1, "sleep 5");
    until_down("program did not end within 400 ms", "PROCTOUT");
    until_weight(2, 20);
    // None is to sleep on after the end of the test.
    order(&site, 1, "exit 0");
    until_weight(1, 100);
}
