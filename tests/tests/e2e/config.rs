//! A configuration with an error is refused in one line that names the place, and nothing happens.

use std::fs;

use lb_tests::{Host, program};

use crate::site::{
    CONFIG,
    said::{Said, run_to_the_end},
    xdp::{files_below, pins},
};

/// A good configuration, one key a line.
const GOOD: &str = r#"[daemon]
interfaces = ["eth0"]
hash_seed = "tests have no secrets"
metrics_listen = "127.0.0.1:9901"
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
protocol = "tcp"
forward = "l2"
[service.health_check]
type = "tcp"
interval = "1s"
timeout = "500ms"
[[service.backend]]
address = "10.0.1.11"
weight = 100
[[service.backend]]
address = "10.0.1.12"
"#;

/// A line of the good configuration, what stands there instead, and what the error names.
const FAULTS: &[(&str, &str, &str)] = &[
    // The daemon.
    ("interfaces", "interfaces = []", "daemon.interfaces"),
    ("interfaces", "interfaces = \"eth0\"", "daemon.interfaces: "),
    ("interfaces", "interfaces = [\"eth0\", \"eth0\"]", "daemon.interfaces"),
    ("interfaces", "interfaces = [\"a name that is too long\"]", "daemon.interfaces"),
    ("hash_seed", "hash_seed = \"short\"", "daemon.hash_seed"),
    ("hash_seed", "hash_sed = \"a secret of many letters\"", "daemon: unknown field `hash_sed`"),
    ("hash_seed", "xdp_mode = \"fast\"", "daemon.xdp_mode"),
    ("hash_seed", "max_backends = 65536", "daemon.max_backends"),
    ("hash_seed", "max_slots = \"many\"", "daemon.max_slots: "),
    ("metrics_listen", "metrics_listen = \"localhost\"", "daemon.metrics_listen"),
    ("metrics_listen", "metrics_listen = 9901", "daemon.metrics_listen: "),
    // The service.
    ("name", "name = \"a b\"", "service.name"),
    ("name", "name = \"\"", "service.name"),
    ("name", "colour = \"red\"", "service: unknown field `colour`"),
    ("vip", "vip = \"10.200.0\"", "service.vip"),
    ("vip", "vip = \"127.0.0.1\"", "service.vip"),
    ("vip", "vip = \"10.200.0.1/32\"", "service.vip"),
    ("port", "port = 65536", "service.port"),
    ("port", "port = -1", "service.port"),
    ("port", "port = \"80\"", "service.port: "),
    ("port", "port = 0", "service.health_check.port"),
    ("protocol", "protocol = \"sctp\"", "service.protocol"),
    ("protocol", "scheduler = \"fastest\"", "service.scheduler"),
    ("protocol", "flow_grace = \"soon\"", "service.flow_grace"),
    ("forward", "forward = \"magic\"", "service.forward"),
    ("forward", "forward = \"dsr\"", "service.forward"),
    // Its check.
    ("type", "type = \"prayer\"", "service.health_check.type"),
    ("interval", "interval = \"1\"", "service.health_check.interval"),
    ("interval", "interval = 1", "service.health_check.interval: "),
    ("interval", "interval = \"1ms\"", "service.health_check.interval"),
    ("timeout", "timeout = \"2s\"", "service.health_check.timeout"),
    ("timeout", "timeout = \"0s\"", "service.health_check.timeout"),
    ("timeout", "fall = 0", "service.health_check.fall"),
    ("timeout", "rise = 1001", "service.health_check.rise"),
    // Its backends.
    ("address", "address = \"be1\"", "service.backend.address"),
    ("address", "address = \"10.0.1.12\"", "service.backend.address"),
    ("address", "address = \"10.200.0.1\"", "service.backend.address"),
    ("address", "address = \"224.0.0.1\"", "service.backend.address"),
    ("weight", "weight = 65536", "service.backend.weight"),
    ("weight", "weight = -1", "service.backend.weight"),
    ("weight", "weight = 1.5", "service.backend.weight: "),
    ("weight", "port = 8080", "service.backend.port"),
    ("weight", "wieght = 100", "service.backend: unknown field `wieght`"),
    // TOML itself.
    ("weight", "weight = ", ""),
    ("weight", "weight = 100\nweight = 100", "duplicate key"),
];

/// What cannot be told in one line: services that contradict each other, and missing keys.
const WHOLES: &[(&str, &str)] = &[("[daemon]\n[[service]]\n", "interfaces"), ("", "daemon")];

fn with_line(key: &str, instead: &str) -> (String, usize) {
    let is_it = |line: &&str| line.starts_with(&format!("{key} = "));
    let old = GOOD.lines().find(is_it).expect("a key of the good one");
    let at = GOOD.lines().position(|line| line == old).expect("it is there");
    (GOOD.replacen(old, instead, 1), at + 1)
}

#[test]
fn errors_name_file_line_and_field_and_nothing_is_touched() {
    let host = Host::new("config").unwrap();
    for (key, instead, named) in FAULTS {
        let (text, line) = with_line(key, instead);
        let message = expect_refusal(&host, &text);
        // A field that another one contradicts may be the one that is named.
        let place = format!("error: {CONFIG}:");
        let found = message.strip_prefix(&place).and_then(|rest| {
            let (line, rest) = rest.split_once(": ")?;
            Some((line.parse::<usize>().ok()?, rest))
        });
        let (found, rest) = found.unwrap_or_else(|| panic!("{instead}: no place: {message}"));
        assert!(rest.contains(named), "{instead}: does not name {named}: {message}");
        let is_near = match *instead {
            // The check is what lacks a port.
            "port = 0" => found == line + 3,
            // The second of the two is one too many.
            "address = \"10.0.1.12\"" => found == line + 3,
            "weight = 100\nweight = 100" => found == line + 1,
            _ => found == line,
        };
        assert!(is_near, "{instead}: stands in line {line}: {message}");
    }
}

#[test]
fn services_that_contradict_each_other_are_refused() {
    let host = Host::new("config").unwrap();
    let (daemon, service) = GOOD.split_at(GOOD.find("[[service]]").unwrap());
    let twice = format!("{daemon}{service}{service}");
    let message = expect_refusal(&host, &twice);
    assert!(message.contains(":21: service.name: "), "{message}");
    let renamed = service.replace("\"web\"", "\"web2\"");
    let same_key = format!("{daemon}{service}{renamed}");
    let message = expect_refusal(&host, &same_key);
    assert!(message.contains(":22: service.vip: "), "{message}");
    assert!(message.contains("`web`"), "{message}");
    for (text, named) in WHOLES {
        let message = expect_refusal(&host, text);
        assert!(message.contains(named), "{text}: {message}");
    }
    let (too_small, _) = with_line("hash_seed", "max_backends = 1");
    let message = expect_refusal(&host, &too_small);
    assert!(message.contains("daemon.max_backends"), "{message}");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let host = Host::new("config").unwrap();
    for (name, said) in runs(&host) {
        assert_eq!(said.code, 1, "{name}: {said:?}");
        let is_named = said.stderr.contains(CONFIG) && said.stderr.contains("No such file");
        assert!(is_named, "{name}: {said:?}");
    }
}

#[test]
fn checks_accept_what_is_good_and_touch_nothing() {
    let host = Host::new("config").unwrap();
    fs::write(host.path(CONFIG), GOOD).unwrap();
    for (name, said) in checks(&host) {
        assert_eq!(said.code, 0, "{name}: {said:?}");
        assert!(said.stdout.contains("ok"), "{name}: {said:?}");
    }
    expect_untouched(&host, "two checks");
}

/// lbd, its check and lbctl's all say the same in one line. Returns the line.
#[track_caller]
fn expect_refusal(host: &Host, text: &str) -> String {
    fs::write(host.path(CONFIG), text).unwrap();
    let mut messages: Vec<String> = Vec::new();
    for (name, said) in runs(host) {
        assert_eq!(said.code, 1, "{name}: {said:?}\n{text}");
        let lines: Vec<_> = said.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{name}: {said:?}\n{text}");
        assert_eq!(said.stdout, "", "{name}\n{text}");
        messages.push(lines[0].to_owned());
    }
    messages.dedup();
    assert_eq!(messages.len(), 1, "{messages:?}");
    expect_untouched(host, text);
    messages.remove(0)
}

/// Starting lbd, and the two ways to check.
fn runs(host: &Host) -> Vec<(String, Said)> {
    let mut runs = vec![run(host, "lbd", &["--config", CONFIG])];
    runs.extend(checks(host));
    runs
}

fn checks(host: &Host) -> [(String, Said); 2] {
    [run(host, "lbd", &["--config", CONFIG, "--check"]), run(host, "lbctl", &["check", CONFIG])]
}

fn run(host: &Host, name: &str, arguments: &[&str]) -> (String, Said) {
    let mut command = host.command(program(name).unwrap());
    command.args(arguments);
    let line = format!("{name} {}", arguments.join(" "));
    (line, run_to_the_end(name, command))
}

#[track_caller]
fn expect_untouched(host: &Host, text: &str) {
    for folder in ["/run/lb", "/var/lib/lb"] {
        assert_eq!(files_below(&host.path(folder)), [""; 0], "{text}");
    }
    assert_eq!(pins(host), [""; 0], "{text}");
}
