mod flow_rules;
mod health_checks;
mod hooks;
mod nat;
mod policies;
mod probes;
mod schedulers;

use super::*;

const DAEMON: &str = "[daemon]\ninterfaces = [\"eth0\"]\n";
const SERVICE: &str =
    "[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"ipip\"\n";

fn error(text: &str) -> String {
    Config::parse("lb.toml", text).expect_err(text).to_string()
}

#[test]
fn the_example_of_the_design_is_understood() {
    let text = r#"
[daemon]
interfaces = ["eth0"]
xdp_mode = "native"
api_socket = "/run/lb/lbd.sock"
metrics_listen = "127.0.0.1:9901"
state_dir = "/var/lib/lb"
pin_dir = "/sys/fs/bpf/lb"
hash_seed = "not a secret"
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
protocol = "tcp"
forward = "ipip"
scheduler = "consistent-hash"
[service.health_check]
type = "tcp"
interval = "1s"
timeout = "500ms"
rise = 2
fall = 3
[[service.backend]]
address = "10.0.1.11"
weight = 100
"#;
    let config = Config::parse("lb.toml", text).expect("the contract");
    let check = config.services[0].health_check.clone().expect("a check");
    assert_eq!((check.port, check.rise, check.fall), (80, 2, 3));
    assert_eq!(config.services[0].backends[0].weight, 100);
    assert!(!format!("{config:?}").contains("not a secret"));
}

#[test]
fn faults_name_file_line_and_field() {
    let with = |more: &str| format!("{DAEMON}{SERVICE}{more}");
    let cases = [
        (String::new(), "lb.toml:1: missing field `daemon`"),
        (format!("{DAEMON}colour = 1\n"), "lb.toml:3: daemon: unknown field `colour`"),
        (
            "[daemon]\ninterfaces = \"eth0\"\n".to_owned(),
            "lb.toml:2: daemon.interfaces: invalid type: string",
        ),
        ("[daemon]\ninterfaces = []\n".to_owned(), "lb.toml:2: daemon.interfaces: name at least"),
        (format!("{DAEMON}hash_seed = \"short\"\n"), "lb.toml:3: daemon.hash_seed: a secret"),
        (format!("{DAEMON}xdp_mode = \"fast\"\n"), "lb.toml:3: daemon.xdp_mode: `fast` must be"),
        (format!("{DAEMON}gue_port = 0\n"), "lb.toml:3: daemon.gue_port: must be a number from 1"),
        (
            format!("{DAEMON}tunnel_sources = [\"10.1.255.7/24\"]\n"),
            "lb.toml:3: daemon.tunnel_sources: `10.1.255.7/24` has bits behind the prefix: write \
             10.1.255.0/24",
        ),
        (
            format!("{DAEMON}tunnel_sources = [\"10.0.0.0/15\"]\n"),
            "lb.toml:3: daemon.tunnel_sources: `10.0.0.0/15` is too large: /16 at least",
        ),
        (
            format!("{DAEMON}tunnel_sources = [\"10.1.255.7/8\"]\n"),
            "lb.toml:3: daemon.tunnel_sources: `10.1.255.7/8` is too large: /16 at least",
        ),
        (
            format!("{DAEMON}tunnel_sources = [\"fd00::/64\"]\n"),
            "lb.toml:3: daemon.tunnel_sources: `fd00::/64` is too large: /112 at least",
        ),
        (
            format!("{DAEMON}tunnel_sources = [\n\"10.1.0.0/24\",\n\"10.2.0.0/24\"]\n"),
            "lb.toml:5: daemon.tunnel_sources: `10.2.0.0/24` is the second of its family",
        ),
        (
            format!("{DAEMON}tunnel_sources = [\"ff00::/112\"]\n"),
            "lb.toml:3: daemon.tunnel_sources: `ff00::/112` cannot be a source",
        ),
        (with(SERVICE), "lb.toml:9: service.name: another service has this name"),
        (
            with(&SERVICE.replace("web", "other")),
            "lb.toml:10: service.vip: service `web` has this address, port and protocol already",
        ),
        (with("weight = 1\n"), "lb.toml:8: service: unknown field `weight`"),
        (with("protocol = \"sctp\"\n"), "lb.toml:8: service.protocol: `sctp` must be \"tcp\""),
        (
            with("flow_grace = \"soon\"\n"),
            "lb.toml:8: service.flow_grace: `soon` is not a duration",
        ),
        (
            with("[[service.backend]]\naddress = \"10.0.1\"\n"),
            "lb.toml:9: service.backend.address: `10.0.1` is not an IPv4 or IPv6 address",
        ),
        (
            with("[[service.backend]]\naddress = \"10.0.1.11\"\nweight = 65536\n"),
            "lb.toml:10: service.backend.weight: must be a number from 0 to 65535",
        ),
        (
            with(
                "[[service.backend]]\naddress = \"10.0.1.11\"\n[[service.backend]]\naddress = \"10.0.1.11\"\n",
            ),
            "lb.toml:11: service.backend.address: this backend is named twice",
        ),
        (
            with(
                "[[service.backend]]\naddress = \"10.0.1.11\"\n[[service.backend]]\naddress = \"::ffff:10.0.1.11\"\n",
            ),
            "lb.toml:11: service.backend.address: this backend is named twice",
        ),
        (
            with("[[service.backend]]\naddress = \"::ffff:10.200.0.1\"\n"),
            "lb.toml:9: service.backend.address: this is the address of the service itself",
        ),
        (
            with(&SERVICE.replace("web", "other").replace("10.200", "::ffff:10.200")),
            "lb.toml:10: service.vip: service `web` has this address, port and protocol already",
        ),
        (
            format!(
                "{DAEMON}max_services = 1\n{SERVICE}{}",
                SERVICE.replace("web", "other").replace("80", "81")
            ),
            "lb.toml: daemon.max_services: 2 services, but at most 1 fit: raise it",
        ),
        (
            with("[service.health_check]\ntype = \"tcp\"\ninterval = \"1s\"\ntimeout = \"2s\"\n"),
            "lb.toml:11: service.health_check.timeout: must be more than nothing",
        ),
        (
            with(
                "[service.source]\ntype = \"etcd\"\nendpoints = [\"https://a:1\"]\nprefix = \"/\"\n",
            ),
            "lb.toml:10: service.source.endpoints: must be a URL",
        ),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(error.starts_with(expected), "{error}\nexpected: {expected}\n{text}");
    }
    for (port, place) in [("-1", 5), ("65536", 5), ("70000", 5)] {
        let text = with("").replace("port = 80", &format!("port = {port}"));
        let expected = format!("lb.toml:{}: service.port: must be a port", place + 1);
        assert!(error(&text).starts_with(&expected), "{}", error(&text));
    }
}

#[test]
fn every_port_cannot_be_checked_without_naming_one() {
    let text = format!("{DAEMON}{SERVICE}[service.health_check]\ntype = \"tcp\"\n");
    let text = text.replace("port = 80", "port = 0");
    assert!(error(&text).contains("service.health_check.port: the service has every port"));
    assert!(Config::parse("lb.toml", &format!("{text}port = 80\n")).is_ok());
}

#[test]
fn slots_are_counted_before_anything_is_touched() {
    let services = |count: u32| {
        let mut text = format!("{DAEMON}max_slots = 16384\n");
        for number in 1..=count {
            let service = SERVICE.replace("web", &format!("web{number}"));
            text += &service.replace("10.200.0.1", &format!("10.200.0.{number}"));
        }
        text
    };
    assert!(Config::parse("lb.toml", &services(3)).is_ok());
    let expected = "lb.toml: daemon.max_slots: 20480 slots, but at most 16384 fit: raise it";
    assert_eq!(error(&services(4)), expected);
}
