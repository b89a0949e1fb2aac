//! Whom a service allows and denies.

use std::collections::BTreeMap;

use lb_common::{
    Verdict::{NoBackend, NotService, SourceDenied},
    service::TCP,
};
use lb_tests::packets::{
    Segment, Shape,
    fixture::key,
    icmp::{self, Complaint},
};

use super::{DesiredPolicy, FIRST, Kind, Site, parsed, service, source, with};

fn from(client: &str) -> Shape {
    let vip = if client.contains("::") { "[fd00:200::1]:80" } else { "10.200.0.1:80" };
    let client =
        if client.contains("::") { format!("[{client}]:4") } else { format!("{client}:4") };
    Shape::tcp(&client, vip, Segment::Syn)
}

fn site(rules: &[(&str, u8, bool)], denies_others: bool, backends: &[Kind]) -> Site {
    let rules = rules.iter().map(|(prefix, length, allowed)| (source(prefix, *length), *allowed));
    let rules: BTreeMap<_, _> = rules.collect();
    let policy = DesiredPolicy { rules, denies_others, ..DesiredPolicy::default() };
    let services = ["10.200.0.1", "fd00:200::1"]
        .map(|vip| with(policy.clone(), service(key(vip, 80, TCP), backends)));
    Site::new(&services)
}

#[test]
fn the_longest_prefix_that_holds_the_source_counts() {
    let rules = [
        ("198.51.100.0", 24, true),
        ("198.51.100.7", 32, false),
        ("198.51.0.0", 16, false),
        ("2001:db8::", 32, true),
        ("2001:db8:bad::", 48, false),
        ("2001:db8:bad::1", 128, true),
    ];
    for denies_others in [false, true] {
        let mut site = site(&rules, denies_others, &[FIRST]);
        let others = if denies_others { Err(SourceDenied) } else { Ok(FIRST) };
        for (client, fate) in [
            ("198.51.100.6", Ok(FIRST)),
            ("198.51.100.7", Err(SourceDenied)),
            ("198.51.101.1", Err(SourceDenied)),
            ("198.52.0.1", others),
            ("2001:db8::7", Ok(FIRST)),
            ("2001:db8:bad::7", Err(SourceDenied)),
            ("2001:db8:bad::1", Ok(FIRST)),
            ("2001:db9::1", others),
        ] {
            assert_eq!(site.fate_of(&from(client)), fate, "{client}");
        }
    }
}

#[test]
fn who_is_denied_is_told_nothing_of_the_backends_and_no_other_service_is_concerned() {
    let mut site = site(&[("198.51.100.7", 32, false)], false, &[]);
    assert_eq!(site.fate_of(&from("198.51.100.7")), Err(SourceDenied));
    assert_eq!(site.fate_of(&from("198.51.100.8")), Err(NoBackend));
    let mut elsewhere = from("198.51.100.7");
    elsewhere.vip.set_port(81);
    assert_eq!(site.fate_of(&elsewhere), Err(NotService));
}

#[test]
fn of_an_error_the_flow_that_it_quotes_counts() {
    let mut site = site(&[("198.51.100.0", 24, true)], true, &[FIRST]);
    let router = parsed("192.0.2.1");
    let quoting = |client| icmp::error(router, &from(client), Complaint::TooBig(1400), 8);
    assert_eq!(site.fate(&quoting("198.51.100.7")), Ok(FIRST));
    assert_eq!(site.fate(&quoting("203.0.113.7")), Err(SourceDenied));
}

#[test]
fn a_change_of_rules_is_in_force_for_flows_that_there_are() {
    let mut site = site(&[("203.0.113.7", 32, false)], false, &[FIRST]);
    assert_eq!(site.fate_of(&from("198.51.100.7")), Ok(FIRST));
    let rules = BTreeMap::from([(source("198.51.100.0", 24), false)]);
    let policy = DesiredPolicy { rules, ..DesiredPolicy::default() };
    site.change(&[with(policy, service(key("10.200.0.1", 80, TCP), &[FIRST]))]);
    let mut later = from("198.51.100.7");
    later.transport = lb_tests::packets::Transport::Tcp(Segment::Ack);
    assert_eq!(site.fate_of(&later), Err(SourceDenied));
    assert_eq!(site.fate_of(&from("203.0.113.7")), Ok(FIRST));
}
