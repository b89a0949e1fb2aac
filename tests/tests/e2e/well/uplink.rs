//! A balancer that is cut off itself blames nobody.

use lb_tests::address;

use super::{FAMILY, told, until_told, web};
use crate::site::{
    Site,
    config::{Config, Service},
    vip,
};

fn config() -> Config {
    Config::of([Service::tcp("web", vip(FAMILY)).to(FAMILY, 1..=3).checked()])
}

/// Failed checks of a backend, and changes of its state.
fn counts(site: &Site, number: u8) -> (u64, u64) {
    let metrics = site.metrics();
    let address = address::backend(FAMILY, number).to_string();
    let labels = [("service", "web"), ("backend", address.as_str())];
    let failed = [labels[0], labels[1], ("result", "failed")];
    let changes = metrics.sum("lb_backend_state_changes_total", &labels);
    (metrics.sum("lb_check_attempts_total", &failed), changes)
}

/// Waits until each backend has failed far more checks than take one out.
fn until_all_failed(site: &Site) {
    let before = [1, 2, 3].map(|number| counts(site, number).0);
    site.until("failed checks", || {
        let now = [1, 2, 3].map(|number| counts(site, number).0);
        let enough = now.iter().zip(before).all(|(now, before)| *now >= before + 6);
        enough.then_some(()).ok_or_else(|| format!("{now:?}, {before:?} before"))
    });
}

/// Whether `lbctl status` names it as a trouble.
fn is_named(site: &Site) -> bool {
    site.json(&["status"]).to_string().contains("no backend answers checks any more")
}

#[test]
fn when_nobody_is_heard_nobody_is_down_and_the_dead_are_found_afterwards() {
    let mut site = Site::running(3, &config());
    let before = [1, 2].map(|number| counts(&site, number).1);
    assert!(!is_named(&site));

    // The switch forwards nothing to the balancer or from it; its link stays.
    let router = &site.topology.router;
    router.ip("link set balancer nomaster").unwrap();
    until_told(&site, "uplink", "silent");
    until_all_failed(&site);
    assert!(site.backends().iter().all(|row| row.state == "up"), "{:?}", site.backends());
    assert!(is_named(&site));
    // One of them dies meanwhile, which nobody here can know.
    site.kill_server(3);
    until_all_failed(&site);
    assert_eq!(site.backend(&web(3)).state, "up");

    site.topology.router.ip("link set balancer master br0").unwrap();
    until_told(&site, "uplink", "heard");
    let row = site.until_is(&web(3), "down");
    assert!(row.reason.ends_with("last: connect was refused"), "{row:?}");
    assert_eq!(told(&site, "uplink"), ["silent", "heard"]);
    assert!(!is_named(&site));
    for number in [1, 2] {
        assert_eq!(site.backend(&web(number)).state, "up");
    }
    assert_eq!([1, 2].map(|number| counts(&site, number).1), before, "they never were down");
}

#[test]
fn without_a_link_nobody_is_down() {
    let mut site = Site::running(3, &config());
    let before = [1, 2, 3].map(|number| counts(&site, number).1);
    // The program is on an interface without a link meanwhile.
    site.close_accounts();
    site.topology.router.ip("link set balancer down").unwrap();
    until_told(&site, "uplink", "silent");
    until_all_failed(&site);
    assert!(site.backends().iter().all(|row| row.state == "up"), "{:?}", site.backends());
    assert!(is_named(&site));
    site.topology.router.ip("link set balancer up").unwrap();
    until_told(&site, "uplink", "heard");
    site.kill_server(3);
    site.until_is(&web(3), "down");
    let now = [1, 2, 3].map(|number| counts(&site, number).1);
    assert_eq!(now, [before[0], before[1], before[2] + 1]);
}

/// When all fail and say so, it is they.
#[test]
fn refusals_are_answers() {
    let mut site = Site::running(3, &config());
    (1..=3).for_each(|number| site.kill_server(number));
    site.until_all_are("down");
    assert_eq!(told(&site, "uplink"), Vec::<String>::new());
    assert!(!is_named(&site));
}
