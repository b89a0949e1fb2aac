//! Backends from registries: they follow changes, and freeze when the registry fails.

use std::{fs, time::Duration};

use lb_tests::{
    Daemon, Host, Load,
    address::{self, Family},
    clock,
};
use serde_json::Value;

use crate::site::{
    Site,
    client::{ask_tcp, expect_none_failed, watch},
    config::{Config, Service},
    vip,
};

/// A web service whose backends come from a registry.
fn config(source: &str) -> Config {
    Config::of([Service::tcp("web", vip(Family::V4)).table("source", source)])
}

/// Waits until exactly these backends are there and up.
#[track_caller]
fn until_up(site: &Site, numbers: &[u8]) {
    let wanted: Vec<_> =
        numbers.iter().map(|number| address::backend(Family::V4, *number)).collect();
    site.until_rows(&format!("backends {numbers:?}"), |rows| {
        rows.iter().map(|row| row.address).eq(wanted.iter().copied())
            && rows.iter().all(|row| row.state == "up")
    });
}

/// Waits until the registry is, or is not, in good order, and returns what the status says of it.
#[track_caller]
fn until_registry_is(site: &Site, wanted: &str) -> Value {
    site.until(&format!("the registry to be {wanted}"), || {
        let status = site.json(&["status"]);
        let source = status["sources"][0].clone();
        let health = if source["up"] == true { "up" } else { "failing" };
        (health == wanted).then_some(source).ok_or_else(|| status.to_string())
    })
}

const FILE: &str = "/run/web.json";

fn write_file(site: &Site, text: &str) {
    let path = site.topology.balancer.path(FILE);
    let draft = path.with_extension("new");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

fn list(numbers: &[u8]) -> String {
    let entry =
        |number: &u8| format!("{{\"address\": \"{}\"}}", address::backend(Family::V4, *number));
    let entries: Vec<_> = numbers.iter().map(entry).collect();
    format!("{{\"backends\": [{}]}}", entries.join(", "))
}

#[test]
fn a_file_is_followed_and_nonsense_in_it_changes_nothing() {
    let mut site = Site::new(3);
    write_file(&site, &list(&[1, 2]));
    site.start(&config(&format!("type = \"file\"\npath = \"{FILE}\"")));
    until_up(&site, &[1, 2]);
    let rows = site.json(&["backend", "list"]);
    assert_eq!(rows["backends"][0]["origin"], "registry");
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    watch(&load, 0, 20);

    write_file(&site, &list(&[1, 2, 3]));
    until_up(&site, &[1, 2, 3]);

    let nonsense = list(&[1]).replace("10.0.1.11", "10.200.0.1");
    for text in ["{\"backends\": [", "nonsense", "", &nonsense] {
        write_file(&site, text);
        let source = until_registry_is(&site, "failing");
        assert!(source["error"].is_string(), "{text}: {source}");
        let said = site.lbctl(&["status"]);
        assert_eq!(said.code, 1, "{text}: {said:?}");
        until_up(&site, &[1, 2, 3]);
        write_file(&site, &list(&[1, 2, 3]));
        until_registry_is(&site, "up");
    }

    fs::remove_file(site.topology.balancer.path(FILE)).unwrap();
    until_registry_is(&site, "failing");
    until_up(&site, &[1, 2, 3]);
    // The last good answer outlives lbd too.
    site.kill_lbd();
    site.start_lbd();
    until_up(&site, &[1, 2, 3]);
    until_registry_is(&site, "failing");
    expect_none_failed(&load, 0);

    write_file(&site, &list(&[3]));
    until_up(&site, &[3]);
    assert_eq!(ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap(), "be3");
    // A list that says "nobody" is an answer.
    write_file(&site, &list(&[]));
    site.until_rows("no backend", <[_]>::is_empty);
}

/// The tables know what the registry said when nothing else does.
#[test]
fn a_lost_state_directory_empties_no_service_while_the_registry_is_silent() {
    let mut site = Site::new(3);
    write_file(&site, &list(&[1, 2, 3]));
    let source = format!("type = \"file\"\npath = \"{FILE}\"");
    let service = || Service::tcp("web", vip(Family::V4)).table("source", &source);
    site.start(&Config::of([service().checked()]));
    until_up(&site, &[1, 2, 3]);
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    watch(&load, 0, 20);

    site.kill_lbd();
    fs::remove_file(site.topology.balancer.path(FILE)).unwrap();
    fs::remove_dir_all(site.topology.balancer.path("/var/lib/lb")).unwrap();
    site.start_lbd();
    let mark = clock::now_ms();
    until_registry_is(&site, "failing");
    until_up(&site, &[1, 2, 3]);
    watch(&load, mark, 50);
    // The tables were right, so nothing was computed anew.
    assert_eq!(site.metrics().sum("lb_table_rebuilds_total", &[]), 0);
    expect_none_failed(&load, 0);

    write_file(&site, &list(&[3]));
    until_up(&site, &[3]);
}

const ETCD: &str = "http://127.0.0.1:2379";

/// An etcd on the loopback of the host, with its data in the host's own `/run`.
fn start_etcd(host: &Host) -> Daemon {
    let mut command = host.command("etcd");
    command.args(["--data-dir", "/run/etcd", "--log-level", "error"]);
    command.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD]);
    let etcd = Daemon::start("etcd", command).expect("etcd is there: run `cargo xtask setup`");
    let answers = || {
        let answer = etcdctl(host, &["get", "x"]);
        answer.map_err(|error| format!("{error}\n{}", etcd.log()))
    };
    etcd.until("etcd to answer", Duration::from_secs(10), answers).unwrap();
    etcd
}

fn etcdctl(host: &Host, words: &[&str]) -> Result<String, lb_tests::RigError> {
    let program = ["env", "ETCDCTL_API=3", "etcdctl", "--dial-timeout=1s", "--command-timeout=2s"];
    host.run(&[&program, words].concat())
}

#[test]
fn an_etcd_is_followed_and_its_death_changes_nothing() {
    let mut site = Site::new(3);
    let mut etcd = start_etcd(&site.topology.balancer);
    let put = |site: &Site, number: u8, value: &str| {
        let key = format!("lb/web/{}", address::backend(Family::V4, number));
        etcdctl(&site.topology.balancer, &["put", &key, value]).unwrap();
    };
    let delete = |site: &Site, number: u8| {
        let key = format!("lb/web/{}", address::backend(Family::V4, number));
        etcdctl(&site.topology.balancer, &["del", &key]).unwrap();
    };
    put(&site, 1, "");
    put(&site, 2, "{\"weight\": 50}");
    let source = format!("type = \"etcd\"\nendpoints = [\"{ETCD}\"]\nprefix = \"lb/web/\"");
    site.start(&config(&source));
    until_up(&site, &[1, 2]);
    assert_eq!(site.backend("web/10.0.1.12").weight, 50);
    let load = Load::http(&site.topology.client, vip(Family::V4), 100).unwrap();
    watch(&load, 0, 20);

    put(&site, 3, "");
    until_up(&site, &[1, 2, 3]);
    put(&site, 2, "{\"weight\": -1}");
    until_registry_is(&site, "failing");
    until_up(&site, &[1, 2, 3]);
    put(&site, 2, "");
    until_registry_is(&site, "up");

    etcd.kill();
    let source = until_registry_is(&site, "failing");
    assert!(source["error"].to_string().contains(ETCD), "{source}");
    assert_eq!(site.metrics().sum("lb_source_up", &[("service", "web")]), 0);
    until_up(&site, &[1, 2, 3]);
    watch(&load, clock::now_ms(), 20);
    expect_none_failed(&load, 0);

    etcd = start_etcd(&site.topology.balancer);
    until_registry_is(&site, "up");
    delete(&site, 1);
    until_up(&site, &[2, 3]);
    let mark = clock::now_ms();
    watch(&load, mark, 50);
    let all = expect_none_failed(&load, mark);
    assert!(!all.served.contains_key("be1"), "{all:?}");
    drop(etcd);
}
