//! Next hops that move to another hardware address, are forgotten, or are not there yet.

use std::{thread, time::Duration};

use lb_tests::{
    Load,
    address::{self, Family},
    clock,
};

use super::{MODES, PROMISE, datagrams, most_lost, pair, time_of_loss};
use crate::site::{
    Site,
    client::{ask_tcp, watch},
    config::Config,
    talk::Talks,
    vip,
};

/// One backend, so that every flow is affected; by direct routing, in both families.
fn config() -> Config {
    Config::of(
        Family::ALL
            .into_iter()
            .flat_map(|family| pair(vip(family)).map(|service| service.to(family, 1..=1))),
    )
}

/// Moves backend 1 to another hardware address. Returns when.
fn move_backend(site: &Site, last: u8) -> u64 {
    let line = format!("link set eth0 address 02:00:00:00:01:{last:02x}");
    let change = clock::now_ms();
    site.topology.backend(1).ip(&line).unwrap();
    change
}

#[test]
fn connections_follow_a_next_hop_that_tells_its_new_hardware_address() {
    for mode in MODES {
        let site = Site::running(1, &config().set("xdp_mode", &format!("\"{mode}\"")));
        let backend = site.topology.backend(1);
        // Gratuitous ARP, and unsolicited neighbour advertisements.
        backend.sysctl("ipv4/conf/eth0/arp_notify", "1").unwrap();
        backend.sysctl("ipv6/conf/eth0/ndisc_notify", "1").unwrap();
        let client = &site.topology.client;
        let talks = Family::ALL.map(|family| Talks::start(client, 10_000..10_008, vip(family)));
        let loads = datagrams(&site, vip);
        let changes: Vec<u64> = (1..=3)
            .map(|last| {
                let change = move_backend(&site, last);
                thread::sleep(PROMISE);
                change
            })
            .collect();
        thread::sleep(PROMISE);
        for load in &loads {
            let all = load.settle(0).unwrap();
            for (change, next) in changes.iter().zip(changes[1..].iter().chain(&[u64::MAX])) {
                let mut until_next = all.clone();
                until_next.failed.retain(|failure| failure.started_ms < *next);
                let healed = time_of_loss(&until_next, *change);
                println!("{mode}, {}: healed after {healed:?}", load.target());
                assert!(healed < PROMISE, "{mode}, {}: {healed:?}", load.target());
            }
        }
        for talks in talks {
            let longest = talks.finish();
            println!("{mode}: the longest answer took {longest:?}");
            assert!(longest < PROMISE, "{mode}: {longest:?}");
        }
    }
}

/// Probes find it out: half a second between them, and a third of one for an answer.
#[test]
fn connections_survive_a_next_hop_that_moves_silently() {
    const LONGEST: Duration = Duration::from_secs(2);
    let site = Site::running(1, &config());
    let client = &site.topology.client;
    let talks = Family::ALL.map(|family| Talks::start(client, 10_000..10_008, vip(family)));
    let loads = datagrams(&site, vip);
    let change = move_backend(&site, 1);
    for load in &loads {
        site.until(&format!("{} to be served again", load.target()), || {
            let all = load.since(change).map_err(|error| error.to_string())?;
            let last = all.served.values().map(|served| served.last_started_ms).max();
            let is_back = last.is_some_and(|last| last > change + 200);
            is_back.then_some(()).ok_or_else(|| format!("{last:?}, {change}"))
        });
    }
    thread::sleep(PROMISE);
    for load in &loads {
        let healed = time_of_loss(&load.settle(0).unwrap(), change);
        println!("{}: healed after {healed:?} without a word", load.target());
        assert!(healed < LONGEST, "{}: {healed:?}", load.target());
    }
    for talks in talks {
        println!("the longest answer took {:?}", talks.finish());
    }
}

#[test]
fn a_flushed_neighbour_table_costs_next_to_nothing() {
    for mode in MODES {
        let site = Site::running(1, &config().set("xdp_mode", &format!("\"{mode}\"")));
        let client = &site.topology.client;
        let talks = Family::ALL.map(|family| Talks::start(client, 10_000..10_008, vip(family)));
        let loads = datagrams(&site, vip);
        let mut flushed = 0;
        for _ in 0..5 {
            flushed = clock::now_ms();
            site.topology.balancer.ip("neighbour flush dev eth0").unwrap();
            thread::sleep(PROMISE / 5);
        }
        thread::sleep(PROMISE);
        for load in &loads {
            let all = load.settle(0).unwrap();
            let (lost, healed) = (most_lost(&all), time_of_loss(&all, flushed));
            println!("{mode}, {}: at most {lost} of a flow, {healed:?}", load.target());
            assert!(lost <= 3, "{mode}, {}: {:?}", load.target(), all.failed);
            assert!(healed < PROMISE, "{mode}, {}: {healed:?}", load.target());
        }
        for talks in talks {
            let longest = talks.finish();
            assert!(longest < PROMISE, "{mode}: {longest:?}");
        }
    }
}

#[test]
fn a_machine_that_comes_up_late_is_found_at_once() {
    let mut site = Site::new(1);
    let change_addresses = |site: &Site, verb: &str| {
        for family in Family::ALL {
            let (address, prefix) = (address::backend(family, 1), family.prefix());
            let flags = if family == Family::V6 && verb == "add" { "nodad" } else { "" };
            let line = format!("address {verb} {address}/{prefix} dev eth0 {flags}");
            site.topology.backend(1).ip(&line).unwrap();
        }
        if verb == "add" {
            for family in Family::ALL {
                let gateway = address::gateway(family);
                let line = format!("route replace default via {gateway}");
                site.topology.backend(1).ip(&line).unwrap();
            }
        }
    };
    change_addresses(&site, "del");
    // The balancer must not know it from before.
    site.topology.balancer.ip("neighbour flush dev eth0").unwrap();
    site.start(&config());
    let row = site.until_is("tcp-10.200.0.1/10.0.1.11", "starting");
    assert!(row.reason.contains("next hop is not known yet"), "{row:?}");
    let client = &site.topology.client;
    let load = |family| Load::udp(client, vip(family), 200).unwrap();
    let loads = Family::ALL.map(load);
    loads.iter().for_each(|load| watch(load, 0, 10));

    change_addresses(&site, "add");
    let added = clock::now_ms();
    site.until_all_are("up");
    thread::sleep(PROMISE);
    for (family, load) in Family::ALL.into_iter().zip(&loads) {
        let all = load.settle(added).unwrap();
        let found = time_of_loss(&all, added);
        println!("{}: found after {found:?}", load.target());
        assert!(found < PROMISE && all.answered() > 0, "{}: {found:?}", load.target());
        assert_eq!(ask_tcp(client, 20_000, vip(family)).unwrap(), "be1");
    }
}
