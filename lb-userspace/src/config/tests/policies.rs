//! What services ask for beyond sending packets to backends, and what they must not.

use super::*;
use crate::model::{FlowRate, Fragments, NoBackend, Ping, Ports, UdpFlows};

const UDP: &str = "[[service]]\nname = \"dns\"\nvip = \"10.200.0.1\"\nport = 53\n\
                   protocol = \"udp\"\nforward = \"l2\"\n";

fn service(text: &str) -> Service {
    let config = Config::parse("lb.toml", &format!("{DAEMON}{text}")).expect(text);
    config.services.into_iter().next().expect("a service")
}

#[test]
fn everything_that_a_service_may_ask_for_is_understood() {
    let text = r#"
[[service]]
name = "quic"
vip = "10.200.0.0/24"
port = "1000-1999"
protocol = "udp"
forward = "ipip"
allow = ["198.51.100.0/24", "::ffff:203.0.113.1"]
deny = ["198.51.100.7"]
no_backend = "refuse"
udp_flows = "quic"
quic_server_id = { offset = 1, length = 4 }
ping = "backend"
[[service.backend]]
address = "10.0.1.11"
server_id = "0a0b0c0D"
"#;
    let service = service(text);
    assert_eq!(
        (service.vip.to_string(), service.ports),
        ("10.200.0.0/24".into(), Ports::Range(1000, 1999))
    );
    let policy = &service.policy;
    let prefixes = |allowed| policy.prefixes(allowed).map(|prefix| prefix.to_string()).collect();
    let allowed: Vec<String> = prefixes(true);
    let denied: Vec<String> = prefixes(false);
    assert_eq!(allowed, ["198.51.100.0/24", "203.0.113.1/32"]);
    assert_eq!((denied, policy.denies_others()), (vec!["198.51.100.7/32".to_owned()], true));
    assert_eq!((policy.no_backend, policy.ping), (NoBackend::Refuse, Some(Ping::Backend)));
    let UdpFlows::Quic { layout, servers } = &policy.udp_flows else { panic!("{policy:?}") };
    assert_eq!((layout.offset, layout.length), (1, 4));
    assert_eq!(servers.values().collect::<Vec<_>>(), [&0x0a0b_0c0d]);
}

#[test]
fn limits_have_a_burst_of_a_second_unless_they_say_otherwise() {
    let text = format!(
        "{UDP}udp_flows = \"remember\"\nudp_timeout = \"90s\"\nfragments = \"by-address\"\n\
         max_new_flows = \"1000/s\"\nnew_flow_burst = 5\nmax_new_flows_per_source = \"90/m\"\n"
    );
    let policy = service(&text).policy;
    assert_eq!(policy.udp_flows, UdpFlows::Remember(std::time::Duration::from_secs(90)));
    assert_eq!(policy.fragments, Fragments::ByAddress);
    let limit = policy.max_new_flows.expect("a limit");
    assert_eq!((limit.rate, limit.burst), (FlowRate { per_minute: 60_000 }, 5));
    let limit = policy.max_new_flows_per_source.expect("a limit");
    assert_eq!((limit.rate, limit.burst), (FlowRate { per_minute: 90 }, 2));
}

#[test]
fn a_service_that_asks_for_nothing_has_no_policy() {
    assert_eq!(service(SERVICE).policy, crate::model::Policy::default());
    let text = format!("{UDP}udp_flows = \"hash\"\nfragments = \"track\"\nno_backend = \"drop\"\n");
    assert_eq!(service(&text).policy, crate::model::Policy::default());
}

/// A line that is added to a service, and the error without its place.
const TCP_FAULTS: [(&str, &str); 31] = [
    ("allow = []", "allow: names nobody: without it all are allowed"),
    ("deny = []", "deny: names nobody: without it nobody is denied"),
    ("allow = [\"10.0.0\"]", "allow: `10.0.0` is not an IPv4 or IPv6 address or prefix"),
    (
        "allow = [\"10.0.0.1/8\"]",
        "allow: `10.0.0.1/8` has bits behind the prefix: write 10.0.0.0/8",
    ),
    ("deny = [\"10.0.0.0/33\"]", "deny: `10.0.0.0/33` is not an IPv4"),
    ("deny = [\"fd00::/8\"]", "deny: `fd00::/8` is of another IP version than the service"),
    ("allow = [\"10.0.0.1\", \"10.0.0.1/32\"]", "allow: `10.0.0.1/32` is in allow twice"),
    ("deny = [\"10.0.0.1\", \"10.0.0.1/32\"]", "deny: `10.0.0.1/32` is in deny twice"),
    (
        "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]",
        "deny: `10.0.0.0/8` is in allow and in deny",
    ),
    (
        "max_new_flows = \"fast\"",
        "max_new_flows: `fast` must be \"N/s\" or \"N/m\", from \"1/m\" to",
    ),
    ("max_new_flows = \"0/s\"", "max_new_flows: `0/s` must be"),
    ("max_new_flows = \"1/h\"", "max_new_flows: `1/h` must be"),
    ("max_new_flows = \"9000000/s\"", "max_new_flows: `9000000/s` must be"),
    ("new_flow_burst = 5", "new_flow_burst: needs max_new_flows"),
    ("new_flow_burst_per_source = 5", "new_flow_burst_per_source: needs max_new_flows_per_source"),
    (
        "max_new_flows = \"1/s\"\nnew_flow_burst = 0",
        "new_flow_burst: must be a number from 1 to 16777215",
    ),
    (
        "max_new_flows_per_source = \"1/s\"\nnew_flow_burst_per_source = 16777216",
        "new_flow_burst_per_source: must be a number from 1 to 16777215",
    ),
    ("no_backend = \"reset\"", "no_backend: `reset` must be \"drop\" or \"refuse\""),
    ("udp_flows = \"remember\"", "udp_flows: is for protocol = \"udp\" only"),
    ("udp_flows = \"hash\"", "udp_flows: is for protocol = \"udp\" only"),
    ("udp_timeout = \"60s\"", "udp_timeout: is for protocol = \"udp\" only"),
    ("quic_server_id = { offset = 1, length = 4 }", "quic_server_id: is for protocol = \"udp\""),
    ("fragments = \"drop\"", "fragments: `drop` must be \"track\" or \"by-address\""),
    ("ping = \"yes\"", "ping: `yes` must be \"pass\" or \"answer\" or \"backend\""),
    (
        "[[service.backend]]\naddress = \"10.0.1.11\"\nserver_id = \"0a\"",
        "backend.server_id: needs udp_flows = \"quic\" and quic_server_id",
    ),
    (
        "vip = \"10.200.0.1/24\"",
        "vip: `10.200.0.1/24`: has bits behind the prefix: write 10.200.0.0/24",
    ),
    ("vip = \"10.200.0.1/32\"", "vip: `10.200.0.1/32`: is a prefix of one address"),
    ("port = \"80\"", "port: must be a port from 0 to 65535, or a range"),
    ("port = \"0-99\"", "port: must be a port from 0 to 65535, or a range"),
    ("port = \"99-80\"", "port: must be a port from 0 to 65535, or a range"),
    ("port = true", "port: must be a port from 0 to 65535, or a range"),
];

const UDP_FAULTS: [(&str, &str); 15] = [
    ("max_new_flows = \"1/s\"", "max_new_flows: only flows that are remembered are known to begin"),
    (
        "max_new_flows_per_source = \"1/s\"",
        "max_new_flows_per_source: only flows that are remembered",
    ),
    ("udp_flows = \"sticky\"", "udp_flows: `sticky` must be \"hash\" or \"remember\" or \"quic\""),
    ("udp_timeout = \"60s\"", "udp_timeout: needs udp_flows = \"remember\""),
    ("quic_server_id = { offset = 1, length = 4 }", "quic_server_id: needs udp_flows = \"quic\""),
    ("udp_flows = \"remember\"\nudp_timeout = \"0s\"", "udp_timeout: must be from 1s to 4h"),
    ("udp_flows = \"remember\"\nudp_timeout = \"5h\"", "udp_timeout: must be from 1s to 4h"),
    ("udp_flows = \"quic\"", "udp_flows: \"quic\" needs quic_server_id"),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 19, length = 1 }",
        "quic_server_id.offset: must be a number from 0 to 18",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 1, length = 9 }",
        "quic_server_id.length: must be a number from 1 to 8",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 14, length = 7 }",
        "quic_server_id.offset: a connection identifier has at most 20 bytes",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 1 }",
        "quic_server_id: missing field `length`",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 1, length = 2 }\nfragments = \"by-address\"",
        "fragments: udp_flows = \"quic\" tells flows apart by more than the client's address",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 1, length = 2 }\n\
         [[service.backend]]\naddress = \"10.0.1.11\"\nserver_id = \"0a0b0c\"",
        "backend.server_id: `0a0b0c` is not 4 hexadecimal digits",
    ),
    (
        "udp_flows = \"quic\"\nquic_server_id = { offset = 1, length = 2 }\n\
         [[service.backend]]\naddress = \"10.0.1.11\"\nserver_id = \"0a0b\"\n\
         [[service.backend]]\naddress = \"10.0.1.12\"\nserver_id = \"0A0B\"",
        "backend.server_id: another backend has this identifier",
    ),
];

#[test]
fn faults_name_the_last_line_and_its_field() {
    let faults = TCP_FAULTS.iter().map(|fault| (SERVICE, fault));
    for (service, (lines, expected)) in faults.chain(UDP_FAULTS.iter().map(|fault| (UDP, fault))) {
        let (key, _) = lines.split_once(' ').expect("a key");
        // A key that the service has already is replaced.
        let kept: Vec<&str> =
            service.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect();
        let text = format!("{DAEMON}{}\n{lines}\n", kept.join("\n"));
        let error = error(&text);
        assert!(error.contains(&format!(": service.{expected}")), "{error}\nexpected: {expected}");
        // The line of the fault is in what was added, but for a word that lacks its companion.
        let line: usize =
            error.split(':').nth(1).and_then(|line| line.parse().ok()).expect("a line");
        let first = text.lines().count() - lines.lines().count();
        assert!(line > first, "{error}\n{text}");
    }
}

/// A second service beside [`SERVICE`], which has changes, and the error.
#[test]
fn services_must_not_contradict_each_other() {
    let with = |name: &str, lines: &str| {
        let kept: Vec<&str> = SERVICE
            .lines()
            .filter(|line| {
                !lines.lines().any(|new| new.split(' ').next() == line.split(' ').next())
            })
            .collect();
        format!("{}\n{lines}\n", kept.join("\n").replace("\"web\"", &format!("{name:?}")))
    };
    let cases = [
        ("port = \"80-90\"", "port = \"90-99\"", Some("port: overlaps 80-90 of service `a`")),
        ("port = \"80-90\"", "port = \"1-65535\"", Some("port: overlaps 80-90 of service `a`")),
        ("port = \"80-90\"", "port = \"80-90\"", Some("vip: service `a` has this address")),
        ("port = \"80-90\"", "port = \"91-99\"", None),
        ("port = \"80-90\"", "port = 85", None),
        ("port = \"80-90\"", "port = \"80-90\"\nprotocol = \"udp\"", None),
        ("port = \"80-90\"", "port = \"80-90\"\nvip = \"10.200.0.0/24\"", None),
        ("vip = \"10.200.0.0/24\"", "vip = \"10.200.0.0/24\"", Some("vip: service `a` has this")),
        ("vip = \"10.200.0.0/24\"", "vip = \"10.200.0.0/25\"", None),
        (
            "ping = \"answer\"",
            "port = 81\nping = \"pass\"",
            Some(
                "ping: service `a` of this address has \"answer\", this one \"pass\": leave one of \
                 them out",
            ),
        ),
        ("ping = \"answer\"", "port = 81\nping = \"answer\"", None),
        ("ping = \"answer\"", "port = 81", None),
        (
            "ping = \"backend\"",
            "port = 81\nping = \"backend\"",
            Some("ping: service `a` of this address has \"backend\" already, which only one may"),
        ),
        (
            "fragments = \"by-address\"",
            "port = 0\nfragments = \"by-address\"",
            Some("fragments: service `a` has \"by-address\" on this address and protocol"),
        ),
        ("fragments = \"by-address\"", "protocol = \"udp\"\nfragments = \"by-address\"", None),
    ];
    for (first, second, expected) in cases {
        let text = format!("{DAEMON}{}{}", with("a", first), with("b", second));
        match (Config::parse("lb.toml", &text), expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => {
                let error = error.to_string();
                assert!(error.contains(&format!("service.{expected}")), "{error}\n{text}");
            }
            (result, _) => panic!("{result:?}\n{text}"),
        }
    }
}

#[test]
fn an_address_and_protocol_have_sixteen_ranges() {
    let ranges = |count: u16| {
        let service = |number: u16| {
            let name = format!("\"range{number}\"");
            let ports = format!("port = \"{}-{}\"", number * 10, number * 10 + 5);
            SERVICE.replace("\"web\"", &name).replace("port = 80", &ports)
        };
        let services: String = (1..=count).map(service).collect();
        format!("{DAEMON}{services}")
    };
    assert!(Config::parse("lb.toml", &ranges(16)).is_ok());
    let expected = "service.port: only 16 ranges fit on one address and protocol";
    assert!(error(&ranges(17)).contains(expected), "{}", error(&ranges(17)));
}

#[test]
fn backends_of_a_prefix_are_not_in_it() {
    let text = format!("{DAEMON}{SERVICE}[[service.backend]]\naddress = \"10.200.0.9\"\n");
    assert!(Config::parse("lb.toml", &text).is_ok());
    let error = error(&text.replace("\"10.200.0.1\"", "\"10.200.0.0/24\""));
    let expected = "backend.address: lies within the service's own prefix 10.200.0.0/24";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_range_cannot_be_checked_without_naming_a_port() {
    let text = format!("{DAEMON}{SERVICE}[service.health_check]\ntype = \"tcp\"\n");
    let text = text.replace("port = 80", "port = \"80-90\"");
    assert!(error(&text).contains("service.health_check.port: the service has a range of ports"));
    assert!(Config::parse("lb.toml", &format!("{text}port = 80\n")).is_ok());
}

#[test]
fn rules_are_counted_before_anything_is_touched() {
    let services = |count: u32| {
        let list: Vec<String> = (0..count)
            .map(|number| format!("\"{}\"", std::net::Ipv4Addr::from(number << 8)))
            .collect();
        format!("{DAEMON}{SERVICE}deny = [{}]\n", list.join(","))
    };
    assert!(Config::parse("lb.toml", &services(32_768)).is_ok());
    let expected = "lb.toml: service.allow: 32769 prefixes in all services, but at most 32768 fit";
    assert_eq!(error(&services(32_769)), expected);
}
