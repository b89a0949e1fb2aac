//! What a service does when many of its backends are not well.

use std::{collections::BTreeSet, io::ErrorKind};

use lb_tests::{Load, address, clock};

use super::{
    CHECK_PORT, ELSEWHERE, FAMILY, own_server, packets, told, until_explained, until_told, web,
};
use crate::site::{
    Site,
    client::{Connection, ask_tcp, expect_none_failed, watch},
    config::{Config, Service},
    vip,
};

fn gauge(site: &Site, name: &str) -> u64 {
    site.metrics().sum(name, &[("service", "web")])
}

/// Waits until each of these backends, and none but them, gets packets.
#[track_caller]
fn until_served_by(site: &Site, wanted: &[u8]) {
    let before = packets(site, 4);
    let grown = || -> BTreeSet<u8> {
        let now = packets(site, 4);
        now.into_iter().filter(|(number, count)| *count > before[number]).map(|it| it.0).collect()
    };
    let wanted: BTreeSet<u8> = wanted.iter().copied().collect();
    site.until(&format!("packets to {wanted:?}"), || {
        let grown = grown();
        grown.is_superset(&wanted).then_some(()).ok_or_else(|| format!("{grown:?}"))
    });
    assert_eq!(grown(), wanted, "who gets packets");
}

#[test]
fn below_the_panic_threshold_all_serve_and_above_it_only_those_that_are_well() {
    let service = Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=4).checked();
    let service = service.table("quorum", "panic_threshold = \"50%\"");
    let mut site = Site::running(4, &Config::of([service]));
    let load = Load::http(&site.topology.client, vip(FAMILY), 100).unwrap();
    watch(&load, 0, 50);

    site.kill_server(4);
    site.until_is(&web(4), "down");
    // Packets of connections that had begun may still come.
    let without = clock::now_ms();
    watch(&load, without, 50);
    until_served_by(&site, &[1, 2, 3]);
    assert_eq!(gauge(&site, "lb_service_panic"), 0);

    site.kill_server(3);
    site.until_is(&web(3), "down");
    assert_eq!(gauge(&site, "lb_service_panic"), 0, "half of them are not below half");
    site.kill_server(2);
    let reason = until_explained(&site, 2, "panic", "only 1 of 4 are well, so all serve");
    assert!(reason.contains("3 failed checks"), "{reason}");
    for number in [3, 4] {
        assert_eq!(site.backend(&web(number)).state, "panic");
    }
    assert_eq!(gauge(&site, "lb_service_panic"), 1);
    assert_eq!(told(&site, "panic"), ["on"]);
    until_served_by(&site, &[1, 2, 3, 4]);
    for number in 1..=4 {
        let share = site.backend(&web(number)).slots_share;
        assert!((share - 0.25).abs() < 0.02, "backend {number} has {share}");
    }

    site.start_server(2);
    site.until_is(&web(2), "up");
    until_told(&site, "panic", "off");
    assert_eq!(told(&site, "panic"), ["on", "off"]);
    assert_eq!(gauge(&site, "lb_service_panic"), 0);
    for number in [3, 4] {
        assert_eq!(site.backend(&web(number)).state, "down");
    }
    let back = clock::now_ms();
    watch(&load, back, 50);
    until_served_by(&site, &[1, 2]);
    expect_none_failed(&load, back);
    [3, 4].into_iter().for_each(|number| site.start_server(number));
    site.until_all_are("up");
    until_served_by(&site, &[1, 2, 3, 4]);
}

/// Three backends and one that stands by for them.
fn with_backup() -> Site {
    let service = Service::tcp("web", vip(FAMILY)).key("scheduler = \"primary-backup\"").checked();
    let service = service.table("quorum", "least = 2\nhysteresis = 1").to(FAMILY, 1..=3);
    let backup = address::backend(FAMILY, 4);
    let backup = format!("[[service.backend]]\naddress = \"{backup}\"\npriority = 1\n");
    let mut site = Site::new(4);
    site.write_config(&format!("{}{backup}", Config::of([service])));
    site.start_lbd();
    (1..=3).for_each(|number| drop(site.until_is(&web(number), "up")));
    site.until_is(&web(4), "standby");
    site
}

/// Who answers new connections.
fn serving(site: &Site, ports: std::ops::Range<u16>) -> BTreeSet<String> {
    ports.map(|port| ask_tcp(&site.topology.client, port, vip(FAMILY)).unwrap()).collect()
}

fn names(numbers: &[u8]) -> BTreeSet<String> {
    numbers.iter().map(|number| format!("be{number}")).collect()
}

#[test]
fn a_backup_serves_without_the_quorum_and_hands_back_when_there_are_more() {
    let mut site = with_backup();
    assert_eq!(serving(&site, 20_000..20_040), names(&[1, 2, 3]));
    site.kill_server(1);
    site.until_is(&web(1), "down");
    assert_eq!(serving(&site, 20_100..20_140), names(&[2, 3]), "two are enough");
    assert_eq!(told(&site, "priority"), Vec::<String>::new());

    site.kill_server(2);
    site.until_is(&web(4), "up");
    until_explained(&site, 3, "standby", "too few of priority 0 are");
    assert_eq!(serving(&site, 20_200..20_220), names(&[4]));
    assert_eq!(gauge(&site, "lb_service_backup_active"), 1);
    assert_eq!(told(&site, "priority"), ["1"]);

    // Two were enough to go on, but are not to begin again.
    site.start_server(2);
    until_explained(&site, 2, "standby", "too few of priority 0 are");
    assert_eq!(serving(&site, 20_300..20_320), names(&[4]));
    site.start_server(1);
    (1..=3).for_each(|number| drop(site.until_is(&web(number), "up")));
    site.until_is(&web(4), "standby");
    assert_eq!(serving(&site, 20_400..20_440), names(&[1, 2, 3]));
    assert_eq!(gauge(&site, "lb_service_backup_active"), 0);
    assert_eq!(told(&site, "priority"), ["1", "0"]);
}

#[test]
fn the_last_resort_is_all_of_them_where_checks_may_be_wrong() {
    let service = Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=2);
    let service = service.table("health_check", ELSEWHERE).table("quorum", "last_resort = \"all\"");
    let site = Site::new(2);
    let checked = [1, 2].map(|number| own_server(&site, number, CHECK_PORT));
    let site = site.run(&Config::of([service]));
    checked.into_iter().for_each(lb_tests::Server::kill);
    site.until_all_are("panic");
    assert_eq!(gauge(&site, "lb_service_panic"), 1);
    assert_eq!(serving(&site, 20_000..20_040), names(&[1, 2]));
    let _checked = [1, 2].map(|number| own_server(&site, number, CHECK_PORT));
    site.until_all_are("up");
    assert_eq!(told(&site, "panic"), ["on", "off"]);
}

#[test]
fn the_last_resort_may_be_to_refuse() {
    let service = Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=2);
    let service =
        service.table("health_check", ELSEWHERE).table("quorum", "last_resort = \"refuse\"");
    let site = Site::new(2);
    let checked = [1, 2].map(|number| own_server(&site, number, CHECK_PORT));
    let site = site.run(&Config::of([service]));
    assert_eq!(serving(&site, 20_000..20_040), names(&[1, 2]));
    checked.into_iter().for_each(lb_tests::Server::kill);
    site.until_all_are("down");
    until_told(&site, "service-state", "down");
    assert_eq!([gauge(&site, "lb_service_up"), gauge(&site, "lb_service_quorum")], [0, 0]);
    for port in 20_100..20_110 {
        // Servers are there all the time: it is the balancer that refuses.
        let error = Connection::open(&site.topology.client, port, vip(FAMILY)).err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    }
    let _checked = [1, 2].map(|number| own_server(&site, number, CHECK_PORT));
    site.until_all_are("up");
    assert_eq!(gauge(&site, "lb_service_quorum"), 1);
    serving(&site, 20_200..20_240);
}
