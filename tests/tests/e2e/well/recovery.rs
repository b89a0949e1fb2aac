//! How backends come back that were out.

use std::time::{Duration, Instant};

use super::{FAMILY, until_explained, web};
use crate::site::{
    Site,
    config::{Config, Service},
    vip,
};

/// Three backends that come back by these rules.
fn site(rules: &str) -> Site {
    let service = Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=3).checked();
    Site::running(3, &Config::of([service.table("recovery", rules)]))
}

/// Stops a server and waits until it is noticed.
fn lose(site: &mut Site, number: u8) {
    site.kill_server(number);
    site.until_is(&web(number), "down");
}

#[test]
fn a_slow_start_gives_weight_step_by_step() {
    const DURATION: Duration = Duration::from_secs(2);

    let mut site = site("slow_start = \"2s\"");
    assert_eq!(site.backend(&web(3)).weight, 100, "nobody starts slowly with the service");
    lose(&mut site, 3);
    site.start_server(3);
    let (mut out, mut seen) = (Instant::now(), Vec::new());
    site.until("all of its weight", || {
        let asked = Instant::now();
        let rows = site.backends();
        let row = rows.iter().find(|row| row.address.to_string() == "10.0.1.13").unwrap();
        if row.state != "up" {
            out = asked;
            return Err(row.state.clone());
        }
        assert!(rows.iter().all(|other| other.address == row.address || other.weight == 100));
        if row.weight < 100 {
            assert!(row.reason.contains("slow start of 2s"), "{row:?}");
        }
        seen.push((row.weight, row.slots_share));
        (row.weight == 100).then_some(()).ok_or_else(|| format!("{row:?}"))
    });
    assert!(out.elapsed() >= DURATION, "after {:?}", out.elapsed());
    let first = seen[0].0;
    assert!((10..50).contains(&first), "{seen:?}");
    assert!(seen.is_sorted_by_key(|(weight, _)| *weight), "{seen:?}");
    // Slots follow weights, but for what they are rounded by.
    assert!(seen.windows(2).all(|two| two[1].1 >= two[0].1 - 0.005), "{seen:?}");
    let mut weights: Vec<_> = seen.iter().map(|(weight, _)| *weight).collect();
    weights.dedup();
    assert!(weights.len() > 5, "{weights:?}");
    let (_, share) = seen[seen.len() - 1];
    assert!((share - 1.0 / 3.0).abs() < 0.02, "{share}");
}

#[test]
fn the_first_failure_ends_a_trial() {
    let mut site = site("trial = \"1h\"\ntrial_weight = \"5%\"");
    lose(&mut site, 3);
    site.start_server(3);
    site.until_is(&web(3), "up");
    let row = site.backend(&web(3));
    assert_eq!(row.weight, 5);
    assert!(row.reason.contains("5 %: on trial for 1h"), "{row:?}");
    assert!(row.slots_share < 0.05, "{row:?}");

    site.kill_server(3);
    // What is told at the change is how many failures it took.
    site.until_is(&web(3), "down");
    let changes = super::events(&site);
    let of_it = |event: &&serde_json::Value| {
        event["kind"] == "backend-state" && event["backend"] == "10.0.1.13" && event["to"] == "down"
    };
    let reasons: Vec<_> = changes.iter().filter(of_it).map(|event| &event["reason"]).collect();
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].starts_with("3 failed checks"), "{reasons:?}");
    assert!(reasons[1].starts_with("1 failed check,"), "{reasons:?}");
}

#[test]
fn one_that_goes_out_again_and_again_is_kept_out_for_a_while() {
    const REASON: &str = "flap damping: it goes out too often";

    let rules = "flap_limit = 2.5\nflap_reuse = 2.0\nflap_half_life = \"10s\"";
    let mut site = site(rules);
    let mut rounds = 0;
    loop {
        lose(&mut site, 3);
        rounds += 1;
        site.start_server(3);
        let row = site.until("it to be back, or kept out", || {
            let row = site.backend(&web(3));
            let is_decided = row.state == "up" || row.reason.contains(REASON);
            is_decided.then(|| row.clone()).ok_or_else(|| format!("{row:?}"))
        });
        if row.state == "down" {
            break;
        }
        assert!(rounds < 10, "it is never kept out");
    }
    assert!(rounds > 2, "{rounds} times are not too often");
    let shown = site.json(&["backend", "show", &web(3)])["backends"][0].clone();
    assert_eq!(shown["health"], "up", "it is well all the same: {shown}");
    let row = site.backend(&web(3));
    assert_eq!((row.state.as_str(), row.slots_share), ("down", 0.0), "{row:?}");
    // Others are not concerned.
    assert_eq!([site.backend(&web(1)).state, site.backend(&web(2)).state], ["up", "up"]);
    site.until_is(&web(3), "up");
}

#[test]
fn one_that_is_held_down_stays_out_so_long_though_it_is_well() {
    const HELD: Duration = Duration::from_secs(3);

    let mut site = site("hold_down = \"3s\"");
    let was_up = Instant::now();
    lose(&mut site, 3);
    site.start_server(3);
    until_explained(&site, 3, "down", "stays out for 3s at least");
    let shown = site.json(&["backend", "show", &web(3)])["backends"][0].clone();
    assert_eq!(shown["health"], "up", "{shown}");
    site.until_is(&web(3), "up");
    assert!(was_up.elapsed() >= HELD, "{:?}", was_up.elapsed());
}
