//! What only translation has.

use super::*;
use crate::model::Ports;

const NAT: &str =
    "[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"nat\"\n";

fn backend(lines: &str) -> String {
    format!("[[service.backend]]\naddress = \"10.0.1.11\"\n{lines}\n")
}

#[test]
fn backends_have_ports_and_flows_have_a_range() {
    let text = format!("{DAEMON}{NAT}{}", backend("port = 8080"));
    let config = Config::parse("lb.toml", &text).expect("a good one");
    assert_eq!(config.daemon.nat_ports, (1024, 32_767));
    let service = &config.services[0];
    assert_eq!((service.ports, service.backends[0].port), (Ports::Exact(80), 8080));

    let [address, other] = ["10.0.1.11", "10.0.1.12"].map(|text| text.parse().expect("address"));
    let port = |service: &Service| [address, other].map(|at| service.translated_port_of(&at));
    assert_eq!(port(service), [Some(8080), Some(80)]);
    let text = format!("{DAEMON}{}", NAT.replace("80", "\"80-89\""));
    let range = Config::parse("lb.toml", &text).expect("a good one");
    assert_eq!(port(&range.services[0]), [None, None]);

    for range in ["5000-5000", "5000 - 5000"] {
        let text = format!("{DAEMON}nat_ports = \"{range}\"\n{NAT}{}", backend(""));
        let config = Config::parse("lb.toml", &text).expect("a good one");
        let port = config.services[0].backends[0].port;
        assert_eq!((config.daemon.nat_ports, port), ((5000, 5000), 0));
    }
}

#[test]
fn faults_name_what_translation_cannot_do() {
    for range in ["", "5000", "0-5", "6-5", "1-65536", "1-2-3", "-"] {
        let error = error(&format!("{DAEMON}nat_ports = \"{range}\"\n{NAT}"));
        let expected = format!("lb.toml:3: daemon.nat_ports: `{range}` is not a range");
        assert!(error.starts_with(&expected), "{error}");
    }
    let port = backend("port = 8080");
    let cases = [
        (
            NAT.replace("nat", "l2") + &port,
            "lb.toml:10: service.backend.port: only forward = \"nat\"",
        ),
        (
            NAT.replace("80", "0") + &port,
            "lb.toml:10: service.backend.port: flows to many ports cannot all go to one",
        ),
        (
            NAT.replace("80", "\"80-89\"") + &port,
            "lb.toml:10: service.backend.port: flows to many ports cannot all go to one",
        ),
        (NAT.to_owned() + &backend("port = 0"), "lb.toml:10: service.backend.port: must be a port"),
        (
            NAT.to_owned() + "[[service.backend]]\naddress = \"fd00::1\"\n",
            "lb.toml:9: service.backend.address: forward = \"nat\" needs backends of the same",
        ),
    ];
    for (text, expected) in cases {
        let error = error(&format!("{DAEMON}{text}"));
        assert!(error.starts_with(expected), "{error}\nexpected: {expected}");
    }
}
