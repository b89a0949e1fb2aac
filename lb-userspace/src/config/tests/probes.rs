//! What is asked of backends: `udp`, `dns`, `icmp`, `exec`, and their agents.

use std::time::Duration;

use super::*;
use crate::model::{
    AgentCheck, CheckVia, DnsQuestion, DnsTransport, ExecProbe, ExitCode, Expect, HealthCheck,
    Probe,
};

/// The first line of a check stands in line 9.
fn text(keys: &str) -> String {
    format!("{DAEMON}{SERVICE}[service.health_check]\n{keys}\n")
}

fn check(keys: &str) -> HealthCheck {
    let config = Config::parse("lb.toml", &text(keys)).expect(keys);
    config.services[0].health_check.clone().expect("a check")
}

#[test]
fn datagrams_are_text_or_bytes() {
    let Probe::Udp(probe) = check("type = \"udp\"\nsend = \"PING\\n\"\nexpect = \"^PONG\"").probe
    else {
        panic!("another probe");
    };
    assert_eq!(probe.send, b"PING\n");
    assert_eq!(probe.expect, Some(Expect::Matches("^PONG".parse().expect("valid"))));
    let hex = check("type = \"udp\"\nsend_hex = \"00 ff\"\nexpect_hex = \"0a??\"").probe;
    let Probe::Udp(probe) = hex else { panic!("another probe") };
    assert_eq!(probe.send, [0, 255]);
    assert_eq!(probe.expect, Some(Expect::Begins("0a??".parse().expect("valid"))));
    let Probe::Udp(probe) = check("type = \"udp\"").probe else { panic!("another probe") };
    assert_eq!(probe, Default::default());
}

#[test]
fn name_servers_are_asked_for_the_root_unless_told_otherwise() {
    let Probe::Dns(probe) = check("type = \"dns\"").probe else { panic!("another probe") };
    assert_eq!((probe.question, probe.answer), (DnsQuestion::default(), None));
    assert_eq!(probe.transport, DnsTransport::Udp);
    let keys = "type = \"dns\"\nquery = \"example.com\"\nrecord = \"mx\"\nanswer = \"^10 \"\n\
                transport = \"tcp\"";
    let Probe::Dns(probe) = check(keys).probe else { panic!("another probe") };
    assert_eq!(probe.question.to_string(), "example.com. MX");
    assert_eq!(probe.answer.map(|answer| answer.to_string()).as_deref(), Some("^10 "));
    assert_eq!(probe.transport, DnsTransport::Tcp);
}

#[test]
fn pings_need_no_port_and_take_no_tunnel() {
    let ping = check("type = \"icmp\"");
    assert_eq!((ping.probe, ping.port, ping.via), (Probe::Icmp, 0, CheckVia::Direct));
}

#[test]
fn programs_are_run_without_a_shell() {
    let keys = "type = \"exec\"\ncommand = [\"/usr/bin/check\", \"-x\", \"a b\"]";
    let probe = |exit_code| {
        let arguments = vec!["-x".to_owned(), "a b".to_owned()];
        Probe::Exec(ExecProbe { program: "/usr/bin/check".into(), arguments, exit_code })
    };
    assert_eq!(check(keys).probe, probe(ExitCode::Verdict));
    assert_eq!(check(keys).port, 80);
    let weighted = format!("{keys}\nweight_from_exit = true");
    assert_eq!(check(&weighted).probe, probe(ExitCode::Weight));
}

#[test]
fn faults_of_probes_name_line_and_key() {
    for (keys, expected) in [
        (
            "type = \"dns\"\nquery = \"a..b\"",
            "10: service.health_check.query: `a..b` is not a domain name",
        ),
        ("type = \"dns\"\nrecord = \"AXFR\"", "10: service.health_check.record: `AXFR` is not a"),
        ("type = \"dns\"\nanswer = \"(\"", "10: service.health_check.answer: `(` is not a regular"),
        (
            "type = \"dns\"\ntransport = \"tls\"",
            "10: service.health_check.transport: `tls` must be \"udp\" or \"tcp\"",
        ),
        ("type = \"exec\"", "8: service.health_check.command: is missing: write the program"),
        ("type = \"exec\"\ncommand = []", "10: service.health_check.command: names no program"),
        (
            "type = \"exec\"\ncommand = [\"check\"]",
            "10: service.health_check.command: `check` is not an absolute path",
        ),
        (
            "type = \"exec\"\ncommand = [\"/bin/x\", \"a\\u0000\"]",
            "10: service.health_check.command: no argument of a program can contain NUL",
        ),
        (
            "type = \"udp\"\nexpect_hex = \"0\"",
            "10: service.health_check.expect_hex: `0` needs two digits for each byte",
        ),
        ("type = \"icmp\"\nport = 7", "10: service.health_check.port: belongs to type"),
        (
            "type = \"agent\"",
            "9: service.health_check.type: an agent is asked beside a check: write \
             [service.agent_check]",
        ),
    ] {
        let error = error(&text(keys));
        assert!(error.starts_with(&format!("lb.toml:{expected}")), "{error}\n{keys}");
    }
}

fn agent(keys: &str) -> String {
    format!("{DAEMON}{SERVICE}[service.agent_check]\n{keys}\n")
}

#[test]
fn agents_have_a_table_of_their_own() {
    let parse = |keys: &str| {
        let config = Config::parse("lb.toml", &agent(keys)).expect(keys);
        config.services[0].agent_check.clone().expect("an agent")
    };
    let mut expected = AgentCheck {
        port: 9999,
        address: None,
        send: Vec::new(),
        interval: HealthCheck::DEFAULT_INTERVAL,
        timeout: HealthCheck::DEFAULT_TIMEOUT,
    };
    assert_eq!(parse("port = 9999"), expected);
    expected.address = Some("10.0.9.9".parse().expect("address"));
    expected.send = b"web\n".to_vec();
    (expected.interval, expected.timeout) = (Duration::from_secs(5), Duration::from_millis(200));
    let keys = "port = 9999\naddress = \"10.0.9.9\"\nsend = \"web\\n\"\ninterval = \"5s\"\n\
                timeout = \"200ms\"";
    assert_eq!(parse(keys), expected);
    // The time-out follows the interval.
    assert_eq!(parse("port = 1\ninterval = \"500ms\"").timeout, Duration::from_millis(500));
}

#[test]
fn faults_of_agents_name_line_and_key() {
    for (keys, expected) in [
        ("send = \"x\"", "8: service.agent_check: missing field `port`"),
        ("port = 0", "9: service.agent_check.port: must be a port from 1 to 65535"),
        ("port = 1\ninterval = \"1ms\"", "10: service.agent_check.interval: must be at least 10ms"),
        (
            "port = 1\ntimeout = \"3s\"",
            "10: service.agent_check.timeout: must be more than nothing and at most the interval",
        ),
        (
            "port = 1\naddress = \"224.0.0.1\"",
            "10: service.agent_check.address: must be one machine's address",
        ),
        ("port = 1\nrise = 2", "10: service.agent_check: unknown field `rise`"),
    ] {
        let error = error(&agent(keys));
        assert!(error.starts_with(&format!("lb.toml:{expected}")), "{error}\n{keys}");
    }
}
