//! What operators say with lbctl: answers, exit codes, and that it stays said.

use lb_tests::{Lbctl, address::Family};
use serde_json::Value;

use crate::site::{
    Site,
    client::ask_tcp,
    config::{Config, Service},
    second_vip, vip,
};

fn config() -> Config {
    Config::of([Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=3)])
}

/// Words after `lbctl`, the exit code, and what the answer or the error contains.
const DIALOGUE: &[(&str, i32, &str)] = &[
    ("status", 0, "health      ok"),
    ("service list", 0, "10.200.0.1:80"),
    ("service show web", 0, "consistent-hash"),
    ("backend list", 0, "web/10.0.1.13"),
    ("backend list web", 0, "web/10.0.1.13"),
    ("backend show web/10.0.1.11", 0, "via eth0"),
    ("lookup --src 10.0.0.2:1234 --dst 10.200.0.1:80", 0, "10.0.1.1"),
    // Nobody here has such a name.
    ("service show nobody", 4, "`nobody`"),
    ("service remove nobody", 4, "`nobody`"),
    ("backend list nobody", 4, "`nobody`"),
    ("backend show web/10.0.1.99", 4, "`web/10.0.1.99`"),
    ("backend drain web/10.0.1.99", 4, "`web/10.0.1.99`"),
    ("backend ready nobody/10.0.1.11", 4, "`nobody`"),
    ("backend maint web/10.0.1.99", 4, "`web/10.0.1.99`"),
    ("backend weight web/10.0.1.99 5", 4, "`web/10.0.1.99`"),
    ("backend remove web/10.0.1.99", 4, "`web/10.0.1.99`"),
    ("backend add nobody/10.0.1.14", 4, "`nobody`"),
    ("lookup --src 10.0.0.2:1234 --dst 10.200.0.1:81", 4, "10.200.0.1:81"),
    ("lookup --proto udp --src 10.0.0.2:1234 --dst 10.200.0.1:80", 4, "udp"),
    // It is there already.
    ("backend add web/10.0.1.11", 5, "`web/10.0.1.11`"),
    ("service add web --vip 10.200.0.7 --port 80 --forward l2", 5, "`web`"),
    ("service add web2 --vip 10.200.0.1 --port 80 --forward l2", 5, "`web`"),
    // It cannot be.
    ("backend add web/127.0.0.1", 1, "loopback"),
    ("backend add web/10.200.0.1", 1, "itself"),
    ("service add web2 --vip 10.200.0.7 --port 80 --forward dsr", 1, "service.forward"),
    (
        "service add web2 --vip 10.200.0.7 --port 80 --forward l2 --check tcp --interval 1",
        1,
        "interval",
    ),
    // It is no question.
    ("backend drain web", 2, "SERVICE/ADDRESS"),
    ("backend weight web/10.0.1.11", 2, "weight"),
    ("backend weight web/10.0.1.11 65536", 2, "65536"),
    ("backend weight web/10.0.1.11 5 --reset", 2, "--reset"),
    ("service add web2 --vip here --port 80 --forward l2", 2, "here"),
    ("lookup --src 10.0.0.2:1234 --dst [fd00:200::1]:80", 2, "IP version"),
    ("dance", 2, "dance"),
    // And the good ones that change something, in an order that makes sense.
    ("backend add web/10.0.1.14 --weight 50", 0, "added"),
    ("backend weight web/10.0.1.14 10", 0, "done"),
    ("backend show web/10.0.1.14", 0, "10 (configured 50)"),
    ("backend weight web/10.0.1.14 --reset", 0, "done"),
    ("backend show web/10.0.1.14", 0, "50 (configured 50)"),
    ("backend drain web/10.0.1.14", 0, "done"),
    ("backend show web/10.0.1.14", 0, "drained by the operator"),
    ("backend maint web/10.0.1.14", 0, "done"),
    ("backend show web/10.0.1.14", 0, "taken out by the operator"),
    ("backend ready web/10.0.1.14", 0, "done"),
    ("backend remove web/10.0.1.14", 0, "removed"),
    ("backend show web/10.0.1.14", 4, "`web/10.0.1.14`"),
    ("service add web2 --vip 10.200.0.7 --port 0 --forward ipip", 0, "added"),
    ("service show web2", 0, "10.200.0.7:*"),
    ("service remove web2", 0, "removed"),
    ("service add web3 --vip 10.200.0.8 --port 80 --forward nat", 0, "added"),
    ("backend add web3/fd00:1::11", 1, "the same family as the service"),
    ("backend add web3/10.0.1.11", 0, "added"),
    ("backend show web3/10.0.1.11", 0, "port      80"),
    ("service remove web3", 0, "removed"),
    ("service remove web", 0, "removed"),
    ("service list", 0, "SERVICE"),
];

#[test]
fn every_verb_answers_with_its_exit_code() {
    let site = Site::running(3, &config());
    for (words, code, named) in DIALOGUE {
        let said = site.lbctl(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(said.code, *code, "lbctl {words}: {said:?}");
        let (told, silent) = match code {
            0 => (&said.stdout, &said.stderr),
            _ => (&said.stderr, &said.stdout),
        };
        assert!(told.contains(named), "lbctl {words}: {named} is missing: {said:?}");
        assert_eq!(silent, "", "lbctl {words}");
        if *code == 0 {
            continue;
        }
        let first = said.stderr.lines().next().unwrap_or_default();
        assert!(first.starts_with("error: "), "lbctl {words}: {said:?}");
    }
}

#[test]
fn scripts_get_errors_as_json() {
    let site = Site::running(3, &config());
    for (words, code, kind) in [
        ("backend show web/10.0.1.99", 4, "not-found"),
        ("backend add web/10.0.1.11", 5, "conflict"),
        ("backend add web/127.0.0.1", 1, "negative"),
        ("lookup --src 10.0.0.2:1234 --dst [fd00:200::1]:80", 2, "usage"),
        ("--socket /run/nobody.sock status", 3, "unreachable"),
        ("backend drain web", 2, "usage"),
        ("dance", 2, "usage"),
    ] {
        let mut arguments: Vec<_> = vec!["-o", "json"];
        arguments.extend(words.split(' '));
        let said = site.lbctl(&arguments);
        assert_eq!(said.code, code, "lbctl {words}: {said:?}");
        let error: Value = serde_json::from_str(&said.stderr)
            .unwrap_or_else(|error| panic!("lbctl {words}: {error}: {said:?}"));
        assert_eq!(error["version"], 1, "lbctl {words}: {said:?}");
        assert_eq!(error["error"]["kind"], kind, "lbctl {words}: {said:?}");
        assert!(error["error"]["message"].is_string(), "lbctl {words}: {said:?}");
        assert_eq!(said.stdout, "", "lbctl {words}");
    }
}

#[test]
fn what_operators_said_is_in_force_after_a_crash() {
    let mut site = Site::running(4, &config());
    let address = second_vip(Family::V4);
    let (vip, port) = (address.ip().to_string(), address.port().to_string());
    for words in [
        "backend add web/10.0.1.14 --weight 30",
        "backend weight web/10.0.1.11 70",
        "backend drain web/10.0.1.12",
        "backend remove web/10.0.1.13",
        &format!("service add more --vip {vip} --port {port} --forward l2"),
        "backend add more/10.0.1.11",
        "backend add more/10.0.1.12",
        "backend maint more/10.0.1.11",
    ] {
        site.ask(&words.split(' ').collect::<Vec<_>>());
    }
    site.until_is("more/10.0.1.12", "up");
    site.until_is("web/10.0.1.14", "up");
    let facts = |site: &Site| {
        let rows = site.backends();
        let fact = |row: &lb_tests::lbctl::BackendRow| {
            let name = format!("{}/{}", row.service, row.address);
            (name, row.state.clone(), row.weight, (row.slots_share * 1000.0).round())
        };
        rows.iter().map(fact).collect::<Vec<_>>()
    };
    let before = facts(&site);
    let states: Vec<_> = before.iter().map(|(name, state, ..)| (&**name, &**state)).collect();
    assert_eq!(
        states,
        [
            ("more/10.0.1.11", "maint"),
            ("more/10.0.1.12", "up"),
            ("web/10.0.1.11", "up"),
            ("web/10.0.1.12", "drain"),
            ("web/10.0.1.14", "up"),
        ]
    );

    site.kill_lbd();
    site.start_lbd();
    site.until("the same backends", || {
        let after = facts(&site);
        (after == before).then_some(()).ok_or_else(|| format!("{after:?}, not {before:?}"))
    });
    assert_eq!(ask_tcp(&site.topology.client, 20_000, address).unwrap(), "be2");

    // What was removed can come back, and then it is as good as new.
    site.ask(&["backend", "add", "web/10.0.1.13"]);
    site.until_is("web/10.0.1.13", "up");
    site.ask(&["service", "remove", "more"]);
    site.kill_lbd();
    site.start_lbd();
    let names: Vec<_> = facts(&site).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["web/10.0.1.11", "web/10.0.1.12", "web/10.0.1.13", "web/10.0.1.14"]);
}

#[test]
fn without_lbd_every_verb_that_needs_it_says_so() {
    let site = Site::new(1);
    for words in ["status", "service list", "backend list", "backend drain web/10.0.1.11"] {
        let said = site.lbctl(&words.split(' ').collect::<Vec<_>>());
        assert_eq!(said.code, 3, "lbctl {words}: {said:?}");
        assert!(said.stderr.contains("/run/lb/lbd.sock"), "lbctl {words}: {said:?}");
    }
    // The far end of tunnels needs none.
    let lbctl = Lbctl::new(&site.topology.balancer).unwrap();
    lbctl.run(&["decap", "show"]).unwrap();
}
