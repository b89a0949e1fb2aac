//! Other configurations while lbd runs: SIGHUP and `lbctl apply`.

use std::{fs, net::SocketAddr};

use lb_tests::{
    Load,
    address::{self, Family},
};

use crate::site::{
    CONFIG, Site,
    client::{expect_none_failed, watch},
    config::{Config, Service},
    vip,
};

/// So many of three backends.
fn config(backends: u8) -> Config {
    Config::of([Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=backends)])
}

/// What lbd must refuse, because of line 3.
const BAD: &str = "[daemon]\ninterfaces = [\"eth0\"]\nxdp_mode = \"fast\"\n";

fn count(site: &Site) -> usize {
    site.backends().iter().filter(|row| row.state == "up").count()
}

#[track_caller]
fn until_count(site: &Site, wanted: usize) {
    let what = format!("{wanted} backends");
    site.until_rows(&what, |rows| rows.len() == wanted && rows.iter().all(|row| row.state == "up"));
}

fn last_reload_succeeded(site: &Site) -> bool {
    site.metrics().sum("lb_config_last_reload_success", &[]) == 1
}

#[test]
fn a_signal_takes_over_the_file_and_breaks_nothing() {
    let site = Site::running(3, &config(2));
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    watch(&load, 0, 50);

    site.write_config(&config(3).to_string());
    site.hang_up();
    until_count(&site, 3);
    assert!(last_reload_succeeded(&site));

    site.write_config(BAD);
    site.hang_up();
    site.until("the refusal to be seen", || {
        let said = site.lbctl(&["status"]);
        (said.code == 1).then_some(()).ok_or_else(|| format!("{said:?}"))
    });
    assert!(!last_reload_succeeded(&site));
    let named = format!("{CONFIG}:3: daemon.xdp_mode: ");
    assert!(site.lbd().log().contains(&named), "the log names the place");
    assert_eq!(count(&site), 3);

    // A seed would hash all flows anew, which a running lbd does not do.
    site.write_config(&config(3).set("hash_seed", "\"another secret\"").to_string());
    site.hang_up();
    site.until("the second refusal", || {
        let log = site.lbd().log();
        log.contains("daemon.hash_seed").then_some(()).ok_or(log)
    });
    assert_eq!(count(&site), 3);

    site.write_config(&config(2).to_string());
    site.hang_up();
    until_count(&site, 2);
    assert!(last_reload_succeeded(&site));
    assert_eq!(site.lbctl(&["status"]).code, 0);
    // Requests that were on their way to the backend that left may have failed, no others.
    let mark = lb_tests::clock::now_ms();
    watch(&load, mark, 50);
    expect_none_failed(&load, mark);
}

#[test]
fn what_lbctl_applies_outlives_lbd_until_the_file_changes() {
    const OTHER: &str = "/run/other.toml";
    let mut site = Site::running(3, &config(1));
    let write = |site: &Site, text: &str| {
        fs::write(site.topology.balancer.path(OTHER), text).unwrap();
    };

    write(&site, BAD);
    let refused = site.lbctl(&["apply", OTHER]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let named = format!("error: {OTHER}:3: daemon.xdp_mode: ");
    assert!(refused.stderr.starts_with(&named), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    assert_eq!(count(&site), 1);
    write(&site, &config(2).set("interfaces", "[\"lo\"]").to_string());
    let refused = site.lbctl(&["apply", OTHER]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("daemon.interfaces"), "{refused:?}");

    write(&site, &config(3).to_string());
    site.ask(&["apply", OTHER]);
    until_count(&site, 3);
    let origin = site.json(&["status"])["config_origin"].to_string();
    assert!(origin.contains(OTHER), "{origin}");

    site.kill_lbd();
    site.start_lbd();
    until_count(&site, 3);

    // A change of the file while lbd is away counts as well as one that it is told of.
    site.kill_lbd();
    site.start(&config(2));
    until_count(&site, 2);
    site.ask(&["apply", OTHER]);
    until_count(&site, 3);
    site.write_config(&config(1).to_string());
    site.hang_up();
    until_count(&site, 1);
    site.kill_lbd();
    site.start_lbd();
    until_count(&site, 1);
}

#[test]
fn what_operators_said_outlives_a_reload() {
    let site = Site::running(3, &config(3));
    site.ask(&["backend", "drain", "web/10.0.1.11"]);
    site.ask(&["backend", "remove", "web/10.0.1.12"]);
    site.write_config(&config(3).to_string());
    site.hang_up();
    site.until("the file to be read again", || {
        let log = site.lbd().log();
        log.contains("the configuration was read again").then_some(()).ok_or(log)
    });
    let rows = site.backends();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(site.backend("web/10.0.1.11").state, "drain");
}

#[test]
fn a_service_that_takes_what_is_for_the_balancer_is_told_of() {
    let own = SocketAddr::new(address::balancer(Family::V4), 0);
    let rest = Service::tcp("rest", own).key("no_backend = \"refuse\"");
    let web = || Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=1);
    let site = Site::running(1, &Config::of([web()]));
    assert_eq!(site.lbctl(&["status"]).code, 0);

    site.write_config(&Config::of([web(), rest]).to_string());
    site.hang_up();
    let named = format!("`rest` takes every TCP packet for {}", own.ip());
    site.until("the service to be told of", || {
        let said = site.lbctl(&["status"]);
        let is_told = said.code == 1 && said.stdout.contains(&named);
        is_told.then_some(()).ok_or_else(|| format!("{said:?}"))
    });
    assert_eq!(site.lbd().log().matches(&named).count(), 1, "the log tells it once");

    site.write_config(&Config::of([web()]).to_string());
    site.hang_up();
    site.until("all to be well", || {
        let said = site.lbctl(&["status"]);
        (said.code == 0).then_some(()).ok_or_else(|| format!("{said:?}"))
    });
}
