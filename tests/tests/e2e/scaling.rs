//! A service says how many backends its load asks for.

use lb_tests::{Load, address::Family};
use serde_json::Value;

use crate::site::{
    Site,
    config::{Config, Service},
    vip,
};

const SCALING: &str = "[service.scaling]\nmeasure = \"packets\"\nper_backend = 100\n\
                       target = \"100%\"\nmax = 50\nhorizon = \"10s\"\ncooldown = \"1h\"\n";

#[test]
fn a_load_asks_for_backends() {
    let service = Service::udp("echo", vip(Family::V4)).to(Family::V4, 1..=2);
    let mut site = Site::new(2);
    site.write_config(&format!("{}{SCALING}", Config::of([service])));
    site.start_lbd();
    let asked =
        |kind| site.metrics().sum(&format!("lb_service_{kind}_backends"), &[("service", "echo")]);
    site.until("the first look at the load", || {
        (asked("desired") > 0).then_some(()).ok_or_else(|| site.metrics().text().to_owned())
    });
    assert_eq!(asked("demand"), 1, "nobody sends anything yet");

    let load = Load::udp(&site.topology.client, vip(Family::V4), 800).unwrap();
    site.until("the load to ask for 6 backends", || {
        let numbers = ["demand", "predicted", "desired"].map(asked);
        (numbers[0] >= 6 && numbers[2] >= numbers[0]).then_some(()).ok_or(format!("{numbers:?}"))
    });
    load.finish().unwrap();

    let item = &site.json(&["service", "show", "echo"])["services"][0]["scaling"];
    assert_eq!(item["measure"], "packets");
    assert!(item["desired"].as_u64().unwrap() >= 6, "{item}");
    assert!(site.ask(&["service", "show", "echo"]).contains("packets/s"), "it says why");
    let events = site.ask(&["-o", "json", "events"]);
    let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let changes: Vec<Value> = events.filter(|event| event["kind"] == "scaling").collect();
    let last = changes.last().expect("the growth is told");
    assert_eq!(
        (&last["service"], &last["to"]),
        (&"echo".into(), &item["desired"].to_string().into())
    );
}
