//! What a change moves: said before it is made, and after.

use lb_tests::address::{self, Family};
use serde_json::Value;

use crate::site::{
    CONFIG, Site,
    config::{Config, Service},
    second_vip, vip,
};

fn web(backends: u8) -> Service {
    Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=backends)
}

/// What `lbctl diff` says would become of each service.
fn difference(site: &Site, config: &Config) -> Vec<Value> {
    site.write_config(&config.to_string());
    let document = site.json(&["diff", CONFIG]);
    document["services"].as_array().expect("services").clone()
}

fn slots(movement: &Value) -> [u64; 3] {
    ["slots", "moved", "least"].map(|key| movement[key].as_u64().expect(key))
}

#[test]
fn what_a_file_would_move_is_what_it_moves() {
    let site = Site::running(4, &Config::of([web(4)]));
    let same = difference(&site, &Config::of([web(4)]));
    assert_eq!((same.len(), &same[0]["change"]), (1, &Value::from("same")));
    assert_eq!(slots(&same[0]["movement"]), [4096, 0, 0]);

    let fewer = Config::of([web(3)]);
    let said = difference(&site, &fewer);
    assert_eq!(said[0]["change"], "changed");
    assert_eq!(said[0]["backends_removed"], serde_json::json!(["10.0.1.14"]));
    let [all, moved, least] = slots(&said[0]["movement"]);
    assert_eq!((all, least), (4096, 1024));
    assert!(moved.abs_diff(least) <= 60, "{moved} slots, where {least} have to");
    let table = site.ask(&["diff", CONFIG]);
    assert!(table.contains(&format!("{moved}")) && table.contains("- web/10.0.1.14"), "{table}");
    // Until now nothing has happened.
    assert!(site.json(&["service", "show", "web"])["services"][0]["last_movement"].is_null());

    site.hang_up();
    let shown = site.until("the new configuration", || {
        let shown = site.json(&["service", "show", "web"])["services"][0].clone();
        let is_there = shown["last_movement"].is_object();
        is_there.then_some(shown.clone()).ok_or_else(|| shown.to_string())
    });
    assert_eq!(slots(&shown["last_movement"]), [all, moved, least]);
    let text = site.ask(&["service", "show", "web"]);
    assert!(text.contains(&format!("moved {moved} of 4096 slots; the least was 1024")), "{text}");
}

#[test]
fn services_come_go_and_change_in_more_than_their_backends() {
    let more = Service::tcp("more", second_vip(Family::V4)).to(Family::V4, 1..=2);
    let site = Site::running(3, &Config::of([web(3), more]));
    let weighted = web(2).weighted(address::backend(Family::V4, 3), 50).key("flow_grace = \"1h\"");
    let other = Service::udp("other", second_vip(Family::V4)).to(Family::V4, 1..=2);
    let said = difference(&site, &Config::of([weighted, other]));
    let brief: Vec<_> = said.iter().map(|item| (&item["name"], &item["change"])).collect();
    let expected = [("more", "removed"), ("other", "added"), ("web", "changed")]
        .map(|(name, change)| (Value::from(name), Value::from(change)));
    assert_eq!(brief, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(said[2]["fields"], serde_json::json!(["flow_grace"]));
    let [_, moved, least] = slots(&said[2]["movement"]);
    assert!(moved >= least && moved <= 2 * least, "{moved} slots, where {least} have to");
    // A file that cannot be is refused, by its place.
    site.write_config("[daemon]\ninterfaces = 7\n");
    let refused = site.lbctl(&["diff", CONFIG]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("daemon.interfaces"), "{refused:?}");
}
