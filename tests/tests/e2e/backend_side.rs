//! The tunnel's far end on a backend: what it opens, and that it goes without a trace.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
};

use lb_tests::{
    Daemon, Lbctl, Load, Server,
    address::{self, Family},
    clock,
};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site::{
    PATIENCE, PORT, Site,
    client::{ask_udp, expect_none_failed, watch},
    config::{Config, Service},
    said::{self, Said},
    vip,
    xdp::{self, pins},
};

/// A service's address that the backends do not have.
const ELSEWHERE: u8 = 9;

fn elsewhere() -> SocketAddr {
    SocketAddr::new(address::service(Family::V4, ELSEWHERE), PORT)
}

/// Two services that send datagrams through tunnels to one backend, which opens none yet.
fn site() -> Site {
    let services = [("echo", vip(Family::V4)), ("elsewhere", elsewhere())];
    let config = Config::of(
        services.map(|(name, vip)| Service::udp(name, vip).by_tunnel().to(Family::V4, 1..=1)),
    );
    let mut site = Site::new(1);
    site.start(&config);
    site.until_all_are("up");
    site
}

/// Runs `lbctl decap` on the backend.
fn decap(site: &Site, words: &str) -> Said {
    let lbctl = Lbctl::new(site.topology.backend(1)).unwrap();
    let mut arguments = vec!["-o", "json", "decap"];
    arguments.extend(words.split(' '));
    said::by(lbctl.command(&arguments))
}

#[track_caller]
fn attach(site: &Site, words: &str) {
    let answer = decap(site, &format!("attach eth0 {words}"));
    assert_eq!(answer.code, 0, "{words}: {answer:?}");
}

/// How many packets got this verdict at the far end.
#[track_caller]
fn count(site: &Site, reason: &str) -> u64 {
    let answer = decap(site, "show");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    let rows = document["decap"].as_array().unwrap();
    let row = rows.iter().find(|row| row["reason"] == reason);
    row.unwrap_or_else(|| panic!("no {reason} in {answer:?}"))["packets"].as_u64().unwrap()
}

/// Who echoes a datagram; none if nobody does.
fn echo(site: &Site, target: SocketAddr) -> Option<String> {
    match ask_udp(&site.topology.client, 20_000, target) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        answer => Some(answer.unwrap()),
    }
}

#[test]
fn only_tunnels_of_given_load_balancers_are_opened() {
    let site = site();
    attach(&site, "--from 10.0.1.200 --from fd00:1::/64");
    assert_eq!(echo(&site, vip(Family::V4)), None);
    assert_eq!((count(&site, "opened"), count(&site, "foreign_source")), (0, 1));
    // Attached again, the lists are replaced.
    attach(&site, "--from 10.0.1.0/25");
    assert_eq!(echo(&site, vip(Family::V4)).as_deref(), Some("be1"));
    assert_eq!(count(&site, "opened"), 1);
    attach(&site, "--from 10.0.1.200");
    assert_eq!(echo(&site, vip(Family::V4)), None);
    assert_eq!(count(&site, "foreign_source"), 2);
}

#[test]
fn only_packets_to_own_addresses_are_let_in() {
    let site = site();
    let listen = [elsewhere()];
    attach(&site, "--from 10.0.1.1");
    assert_eq!(echo(&site, elsewhere()), None);
    assert_eq!((count(&site, "opened"), count(&site, "not_local")), (0, 1));

    let line = format!("address add {}/32 dev lo", elsewhere().ip());
    site.topology.backend(1).ip(&line).unwrap();
    let _server = Server::start(site.topology.backend(1), listen).unwrap();
    // The list is that of the moment of the command.
    assert_eq!(echo(&site, elsewhere()), None);
    attach(&site, "--from 10.0.1.1");
    assert_eq!(echo(&site, elsewhere()).as_deref(), Some("be1"));
    let service: IpAddr = vip(Family::V4).ip();
    attach(&site, &format!("--from 10.0.1.1 --to {service}"));
    assert_eq!(echo(&site, elsewhere()), None);
    assert_eq!(echo(&site, vip(Family::V4)).as_deref(), Some("be1"));
    assert_eq!(count(&site, "not_local"), 3);
}

#[test]
fn watching_follows_the_machines_addresses() {
    let site = site();
    let backend = site.topology.backend(1);
    let lbctl = Lbctl::new(backend).unwrap();
    let words = ["decap", "attach", "eth0", "--from", "10.0.1.1", "--watch"];
    let watcher = Daemon::start("lbctl decap", lbctl.command(&words)).unwrap();
    let until_echo = |target: SocketAddr, wanted: Option<&str>| {
        let what = format!("{wanted:?} to answer for {target}");
        watcher
            .until(&what, PATIENCE, || {
                let answer = echo(&site, target);
                (answer.as_deref() == wanted).then_some(()).ok_or_else(|| format!("{answer:?}"))
            })
            .unwrap_or_else(|error| panic!("{error}"));
    };
    until_echo(vip(Family::V4), Some("be1"));

    let address = format!("{}/32 dev lo", elsewhere().ip());
    backend.ip(&format!("address add {address}")).unwrap();
    let server = Server::start(backend, [elsewhere()]).unwrap();
    until_echo(elsewhere(), Some("be1"));
    backend.ip(&format!("address del {address}")).unwrap();
    until_echo(elsewhere(), None);
    drop(server);

    // What it attached stays, as without watching.
    watcher.signal(Signal::SIGINT);
    lb_tests::waiting::until("the watcher to end", PATIENCE, || {
        watcher.exit_status().ok_or_else(|| watcher.log())
    })
    .unwrap();
    assert_eq!(echo(&site, vip(Family::V4)).as_deref(), Some("be1"));
}

#[test]
fn attaching_again_under_load_loses_nothing_and_detaching_leaves_nothing() {
    let site = site();
    let backend = site.topology.backend(1);
    attach(&site, "--from 10.0.1.1");
    let program = xdp::program(backend, "eth0");
    assert!(program.is_some());
    let load = Load::udp(&site.topology.client, vip(Family::V4), 300).unwrap();
    watch(&load, 0, 50);
    for prefix in ["10.0.1.0/24", "10.0.0.0/8", "10.0.1.1"] {
        attach(&site, &format!("--from {prefix} --from fd00:1::1"));
        watch(&load, clock::now_ms(), 30);
    }
    expect_none_failed(&load, 0);
    load.finish().unwrap();

    assert_eq!(decap(&site, "detach eth0").code, 0);
    assert_eq!(xdp::program(backend, "eth0"), None);
    assert_eq!(pins(backend), [""; 0]);
    assert_eq!(decap(&site, "detach eth0").code, 4);
    let document: Value = serde_json::from_str(&decap(&site, "show").stdout).unwrap();
    assert_eq!(document["decap"], serde_json::json!([]));
}

#[test]
fn a_refusal_leaves_nothing() {
    let site = site();
    let backend = site.topology.backend(1);
    let missing = decap(&site, "attach eth7 --from 10.0.1.1");
    assert_eq!(missing.code, 4, "{missing:?}");
    assert!(missing.stderr.contains("`eth7`"), "{missing:?}");
    assert_eq!(pins(backend), [""; 0]);

    std::fs::write(backend.path("/run/foreign.o"), lb_userspace::objects::PASS).unwrap();
    let words = "ip link set dev eth0 xdpdrv object /run/foreign.o section xdp";
    backend.run(&words.split(' ').collect::<Vec<_>>()).unwrap();
    let foreign = xdp::program(backend, "eth0");
    assert!(foreign.is_some());
    let occupied = decap(&site, "attach eth0 --from 10.0.1.1");
    assert_eq!(occupied.code, 5, "{occupied:?}");
    assert_eq!(xdp::program(backend, "eth0"), foreign);
    assert_eq!(pins(backend), [""; 0]);

    for (words, code) in [
        ("attach eth0", 2),
        ("attach eth0 --from here", 2),
        ("attach eth0 --from 10.0.1.1 --watch --to 10.200.0.1", 2),
    ] {
        let answer = decap(&site, words);
        assert_eq!(answer.code, code, "{words}: {answer:?}");
    }
}
