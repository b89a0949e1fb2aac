//! How new flows find their backend.

use std::time::Duration;

use super::*;
use crate::{
    config::Limits,
    model::{Affinity, Backend, Scheduler, UdpFlows},
};

const HEAD: &str = "[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\nport = 80\n";
const BACKEND: &str = "[[service.backend]]\naddress = \"10.0.1.11\"\n";

fn tcp(lines: &str) -> String {
    format!("{DAEMON}{HEAD}forward = \"l2\"\n{lines}\n")
}

fn udp(lines: &str) -> String {
    format!("{DAEMON}{HEAD}protocol = \"udp\"\nforward = \"l2\"\n{lines}\n")
}

fn service(text: &str) -> Service {
    Config::parse("lb.toml", text).expect("a good one").services.remove(0)
}

#[test]
fn every_scheduler_is_known_by_its_word() {
    for (name, scheduler) in Scheduler::NAMES {
        let check = "[service.health_check]\ntype = \"tcp\"";
        let text = tcp(&format!("scheduler = \"{name}\"\n{check}"));
        assert_eq!(service(&text).scheduler, scheduler, "{name}");
    }
    assert_eq!(service(&tcp("")).scheduler, Scheduler::ConsistentHash);
    let error = error(&tcp("scheduler = \"wrr\""));
    assert!(
        error.starts_with("lb.toml:8: service.scheduler: `wrr` must be \"consistent-hash\" or")
    );
    assert!(error.contains("or \"weighted-round-robin\" or"), "{error}");
}

#[test]
fn an_affinity_says_how_far_addresses_count_and_for_how_long() {
    let affinity = |lines: &str| {
        let text = tcp(&format!("scheduler = \"source-hash\"\n{lines}"));
        service(&text).scheduler.affinity().expect("it has one")
    };
    assert_eq!(affinity(""), Affinity { ipv4_prefix: 32, ipv6_prefix: 64, timeout: None });
    let all = "affinity = { ipv4_prefix = 24, ipv6_prefix = 48, timeout = \"10m\" }";
    let timeout = Some(Duration::from_secs(600));
    assert_eq!(affinity(all), Affinity { ipv4_prefix: 24, ipv6_prefix: 48, timeout });
    for (lines, expected) in [
        ("affinity = { ipv4_prefix = 33 }", "affinity.ipv4_prefix: must be a number from 1 to 32"),
        ("affinity = { ipv6_prefix = 0 }", "affinity.ipv6_prefix: must be a number from 1 to 128"),
        ("affinity = { timeout = \"5h\" }", "affinity.timeout: must be from 1s to 4h"),
        ("affinity = { timeout = \"0s\" }", "affinity.timeout: must be from 1s to 4h"),
        ("affinity = { prefix = 1 }", "unknown field"),
    ] {
        let error = error(&tcp(&format!("scheduler = \"source-hash\"\n{lines}")));
        assert!(error.contains(expected), "{error}");
    }
    let error = error(&tcp("affinity = { ipv4_prefix = 24 }"));
    assert_eq!(error, "lb.toml:8: service.affinity: needs scheduler = \"source-hash\"");
}

#[test]
fn flows_of_udp_are_remembered_where_a_scheduler_places_them() {
    let flows = |lines: &str| service(&udp(lines)).policy.udp_flows;
    let minute = UdpFlows::Remember(Duration::from_secs(60));
    assert_eq!(flows("scheduler = \"round-robin\""), minute);
    assert_eq!(flows("scheduler = \"random\"\nudp_flows = \"remember\""), minute);
    let timed = flows("scheduler = \"random\"\nudp_timeout = \"5s\"");
    assert_eq!(timed, UdpFlows::Remember(Duration::from_secs(5)));
    assert_eq!(flows("scheduler = \"source-hash\""), UdpFlows::Hash);
    let lasting = "scheduler = \"source-hash\"\naffinity = { timeout = \"1m\" }";
    assert_eq!(flows(lasting), minute);
    for word in ["hash", "quic"] {
        let error = error(&udp(&format!("scheduler = \"random\"\nudp_flows = \"{word}\"")));
        let expected = "lb.toml:10: service.udp_flows: scheduler = \"random\" finds the backend";
        assert!(error.starts_with(expected), "{error}");
    }
    let nat = udp("scheduler = \"round-robin\"").replace("l2", "nat");
    assert_eq!(service(&nat).policy.udp_flows, UdpFlows::Hash, "translation remembers");
}

#[test]
fn fragments_by_address_need_flows_by_address() {
    let fragments = "fragments = \"by-address\"";
    service(&tcp(&format!("scheduler = \"source-hash\"\n{fragments}")));
    let timeout = "affinity = { timeout = \"1m\" }";
    service(&tcp(&format!("scheduler = \"source-hash\"\n{timeout}\n{fragments}")));
    let error = error(&tcp(&format!("scheduler = \"least-connections\"\n{fragments}")));
    let expected = "lb.toml:9: service.fragments: scheduler = \"least-connections\" tells flows";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn who_answers_fastest_must_be_measured() {
    let line = "scheduler = \"least-response-time\"";
    let error = error(&tcp(line));
    assert!(
        error.starts_with("lb.toml:8: service.scheduler: only with forward = \"nat\""),
        "{error}"
    );
    assert!(error.contains("give the service a health_check"), "{error}");
    service(&tcp(line).replace("l2", "nat"));
    service(&tcp(&format!("{line}\n[service.health_check]\ntype = \"tcp\"")));
}

#[test]
fn priorities_are_for_backups() {
    let backend = format!("{BACKEND}priority = 1\n");
    let service = service(&tcp(&format!(
        "scheduler = \"primary-backup\"\n{backend}{}",
        BACKEND.replace("11", "12")
    )));
    assert_eq!(service.backends.iter().map(|b| b.priority).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(self::service(&tcp(&backend)).backends[0].priority, 1, "with any scheduler");
    let high = format!("scheduler = \"primary-backup\"\n{}", backend.replace("= 1\n", "= 256\n"));
    let refused = error(&tcp(&high));
    assert!(
        refused.contains("service.backend.priority: must be a number from 0 to 255"),
        "{refused}"
    );
}

#[test]
fn a_table_has_a_power_of_two_of_slots() {
    for slots in [1024, 1 << 20] {
        assert_eq!(service(&tcp(&format!("table_slots = {slots}"))).table_slots, Some(slots));
    }
    assert_eq!(service(&tcp("")).table_slots, None);
    for slots in ["512", "1025", "2097152", "-1"] {
        let error = error(&tcp(&format!("table_slots = {slots}")));
        assert!(
            error.starts_with("lb.toml:8: service.table_slots: must be a power of two"),
            "{error}"
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let with = |scheduler, backends| {
        let backend = |number: u32| Backend {
            address: (0x0a00_0000 + number).to_be_bytes().into(),
            weight: 100,
            port: 0,
            priority: 0,
        };
        let backends = (1..=backends).map(backend).collect();
        Service { scheduler, backends, ..service(&tcp("")) }
    };
    let limits = Limits { slots: 1 << 22, ..Limits::default() };
    let check = |service: Service| check_service_limits(&[service], &limits);
    assert_eq!(check(with(Scheduler::LeastConnections, 1024)), Ok(()));
    let refused = check(with(Scheduler::LeastConnections, 1025)).expect_err("one too many");
    assert!(refused.contains("\"least-connections\" compares at most 1024"), "{refused}");
    assert_eq!(check(with(Scheduler::TwoChoices, 1025)), Ok(()));

    let slots = |slots| Limits { slots, ..Limits::default() };
    let rotating = || [with(Scheduler::RoundRobin, 1)];
    assert_eq!(check_service_limits(&rotating(), &slots(2 * (4096 + 1024))), Ok(()));
    let refused = check_service_limits(&rotating(), &slots(2 * (4096 + 1024) - 1));
    assert!(refused.expect_err("no room for the list").contains("max_slots"));
}
