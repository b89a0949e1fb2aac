use std::time::Duration;

use hyper::StatusCode;

use super::*;
use crate::model::{
    CheckVia, Expect, GrpcProbe, HealthCheck, HttpVersion, InitialState, Probe, Service, TlsOptions,
};

/// A service of a forward, with lines for its check.
fn text(forward: &str, check: &str) -> String {
    let service = SERVICE.replace("ipip", forward);
    format!("{DAEMON}{service}[service.health_check]\n{check}\n")
}

fn service(text: &str) -> Service {
    Config::parse("lb.toml", text).expect(text).services.remove(0)
}

fn check(lines: &str) -> HealthCheck {
    service(&text("l2", lines)).health_check.expect("a check")
}

#[test]
fn nothing_but_a_type_is_enough() {
    for (kind, probe) in [
        ("tcp", Probe::Tcp),
        ("icmp", Probe::Icmp),
        ("http", Probe::Http(Box::default())),
        ("tls", Probe::Tls(TlsOptions::default())),
        ("grpc", Probe::Grpc(GrpcProbe::default())),
    ] {
        let check = check(&format!("type = \"{kind}\""));
        assert_eq!(check.probe, probe);
        assert_eq!(check.port, if kind == "icmp" { 0 } else { 80 }, "{kind}");
        assert_eq!((check.via, check.initial), (CheckVia::Direct, InitialState::FirstCheck));
        let times = [check.interval, check.fast_interval, check.down_interval];
        assert_eq!(times, [HealthCheck::DEFAULT_INTERVAL; 3]);
    }
}

#[test]
fn all_keys_of_all_types_are_understood() {
    let common = check(
        "type = \"tcp\"\nport = 81\naddress = \"10.0.9.9\"\nsource = \"10.0.0.2\"\n\
         via = \"direct\"\ninterval = \"5s\"\nfast_interval = \"1s\"\ndown_interval = \"20s\"\n\
         timeout = \"900ms\"\njitter = \"10%\"\nrise = 4\nfall = 5\ninitial = \"down\"",
    );
    assert_eq!((common.port, common.address), (81, "10.0.9.9".parse().ok()));
    assert_eq!((common.source, common.jitter), ("10.0.0.2".parse().ok(), 10));
    let times = [common.interval, common.fast_interval, common.down_interval, common.timeout];
    assert_eq!(times.map(|time| time.as_millis()), [5000, 1000, 20_000, 900]);
    assert_eq!((common.rise, common.fall, common.initial), (4, 5, InitialState::Down));

    let talk = check("type = \"tcp\"\nsend_hex = \"50 49\"\nexpect_hex = \"?? 4f\"");
    let Probe::TcpExchange(exchange) = talk.probe else { panic!("{:?}", talk.probe) };
    assert_eq!(exchange.send, b"PI");
    assert!(matches!(exchange.expect, Some(Expect::Begins(_))));

    let web = check(
        "type = \"https\"\nmethod = \"POST\"\npath = \"/health?x=1\"\nhost = \"a.example:8443\"\n\
         headers = { x-check = \"yes\" }\nstatus = 204\nbody = \"ok|fine\"\nhttp = \"2\"\n\
         ca_file = \"/etc/ca.pem\"\nserver_name = \"b.example\"\ncertificate_days = 14",
    );
    let Probe::Http(http) = web.probe else { panic!("{:?}", web.probe) };
    assert_eq!((http.method.as_str(), http.path.as_str()), ("POST", "/health?x=1"));
    assert_eq!(
        (http.version, http.headers["x-check"].as_bytes()),
        (HttpVersion::Http2, &b"yes"[..])
    );
    assert!(http.status.holds(StatusCode::NO_CONTENT) && !http.status.holds(StatusCode::OK));
    let tls = http.tls.expect("encrypted");
    assert_eq!((tls.server_name.as_deref(), tls.certificate_days), (Some("b.example"), Some(14)));

    let grpc = check("type = \"grpc\"\ngrpc_service = \"a.B\"\ntls = true\nverify = false");
    let Probe::Grpc(grpc) = grpc.probe else { panic!("{:?}", grpc.probe) };
    assert_eq!(grpc.service, "a.B");
    assert!(!grpc.tls.expect("encrypted").verify);
}

/// Time-outs follow the shortest interval where nothing is said of them.
#[test]
fn times_fit_each_other() {
    let fast = check("type = \"tcp\"\nfast_interval = \"200ms\"");
    assert_eq!(fast.timeout, Duration::from_millis(200));
    for (lines, expected) in [
        ("interval = \"9ms\"", "lb.toml:10: service.health_check.interval: must be at least 10ms"),
        ("down_interval = \"1ms\"", "lb.toml:10: service.health_check.down_interval: must be at"),
        (
            "fast_interval = \"3s\"",
            "lb.toml:10: service.health_check.fast_interval: must be at most",
        ),
        (
            "fast_interval = \"500ms\"\ntimeout = \"600ms\"",
            "lb.toml:11: service.health_check.timeout: must be more than nothing and at most the \
             fast_interval",
        ),
        ("jitter = \"51%\"", "lb.toml:10: service.health_check.jitter: `51%` is not a share"),
        ("jitter = \"5\"", "lb.toml:10: service.health_check.jitter: `5` is not a share"),
        ("initial = \"maybe\"", "lb.toml:10: service.health_check.initial: `maybe` must be"),
    ] {
        let error = error(&text("l2", &format!("type = \"tcp\"\n{lines}")));
        assert!(error.starts_with(expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn keys_belong_to_types() {
    for (kind, line, expected) in [
        ("tcp", "path = \"/\"", "path: belongs to type \"http\" or \"https\", not to \"tcp\""),
        ("http", "verify = false", "verify: belongs to type \"https\" or \"tls\" or \"grpc\""),
        ("http", "send = \"x\"", "send: belongs to type \"tcp\" or \"udp\", not to \"http\""),
        ("https", "tls = true", "tls: belongs to type \"grpc\", not to \"https\""),
        ("icmp", "port = 80", "port: belongs to type "),
        ("dns", "command = [\"/bin/true\"]", "command: belongs to type \"exec\""),
        ("exec", "source = \"10.0.0.1\"", "source: belongs to type "),
        ("tcp", "query = \".\"", "query: belongs to type \"dns\""),
        ("grpc", "server_name = \"a.example\"", "server_name: needs tls = true"),
    ] {
        let error = error(&text("l2", &format!("type = \"{kind}\"\n{line}")));
        let expected = format!("lb.toml:10: service.health_check.{expected}");
        assert!(error.starts_with(&expected), "{error}\nexpected: {expected}");
    }
}

#[test]
fn faults_of_probes_name_their_place() {
    for (kind, line, expected) in [
        ("prayer", "", "9: service.health_check.type: `prayer` must be one of \"tcp\", \"http\""),
        ("none", "", "8: service.health_check.type: \"none\" is for single backends"),
        (
            "tcp",
            "expect = \"(\"",
            "10: service.health_check.expect: `(` is not a regular expression",
        ),
        ("tcp", "send_hex = \"5\"", "10: service.health_check.send_hex: "),
        (
            "tcp",
            "expect = \"a\"\nexpect_hex = \"00\"",
            "11: service.health_check.expect_hex: `expect` says already",
        ),
        ("http", "path = \"health\"", "10: service.health_check.path: `health` is not a path"),
        ("http", "host = \"a b\"", "10: service.health_check.host: `a b` is not a host"),
        ("http", "host = \"me@a\"", "10: service.health_check.host: `me@a` is not a host"),
        ("http", "method = \"get\"", "10: service.health_check.method: must be a method"),
        ("http", "status = \"2xx\"", "10: service.health_check.status: must be status codes"),
        ("http", "status = true", "10: service.health_check.status: must be status codes"),
        ("http", "http = \"3\"", "10: service.health_check.http: `3` must be"),
        (
            "http",
            "headers = { Host = \"a\" }",
            "10: service.health_check.headers.Host: cannot be set: write `host`",
        ),
        (
            "http",
            "headers = { \"a b\" = \"c\" }",
            "10: service.health_check.headers.a b: is not the name of a header",
        ),
        (
            "http",
            "method = \"HEAD\"\nbody = \"a\"",
            "11: service.health_check.body: an answer to HEAD has no body",
        ),
        ("tls", "ca_file = \"ca.pem\"", "10: service.health_check.ca_file: must be an absolute"),
        (
            "tls",
            "verify = false\nca_file = \"/ca.pem\"",
            "11: service.health_check.ca_file: nobody asks it",
        ),
        ("tls", "server_name = \"a b\"", "10: service.health_check.server_name: `a b` cannot"),
        ("tls", "certificate_days = 0", "10: service.health_check.certificate_days: must be"),
        ("tcp", "source = \"0.0.0.0\"", "10: service.health_check.source: must be an address"),
        ("tcp", "colour = 1", "10: service.health_check: unknown field `colour`"),
    ] {
        let error = error(&text("l2", &format!("type = \"{kind}\"\n{line}")));
        assert!(error.starts_with(&format!("lb.toml:{expected}")), "{error}\n{expected}");
    }
    let error = error(&text("l2", "interval = \"1s\""));
    assert!(error.starts_with("lb.toml:8: service.health_check.type: is missing"), "{error}");
}

#[test]
fn checks_go_the_way_of_clients_where_there_is_a_tunnel() {
    let via =
        |forward, lines: &str| service(&text(forward, lines)).health_check.expect("check").via;
    for forward in ["ipip", "gue"] {
        assert_eq!(via(forward, "type = \"tcp\""), CheckVia::Tunnel);
        assert_eq!(via(forward, "type = \"dns\"\nport = 53"), CheckVia::Tunnel);
        assert_eq!(via(forward, "type = \"tcp\"\nvia = \"direct\""), CheckVia::Direct);
        assert_eq!(via(forward, "type = \"icmp\""), CheckVia::Direct);
        assert_eq!(via(forward, "type = \"tcp\"\naddress = \"10.0.9.9\""), CheckVia::Direct);
    }
    assert_eq!(via("nat", "type = \"tcp\""), CheckVia::Direct);
    let tunnel = "via = \"tunnel\"";
    for (forward, lines, expected) in [
        ("l2", "type = \"tcp\"", "via: a tunnel leads to backends with forward"),
        ("ipip", "type = \"icmp\"", "via: type \"icmp\" sends nothing to a port"),
        ("ipip", "type = \"tcp\"\naddress = \"10.0.9.9\"", "via: the tunnel ends at the backend"),
        ("gue", "type = \"tcp\"\nsource = \"10.0.0.2\"", "source: a check through the tunnel has"),
    ] {
        let error = error(&text(forward, &format!("{lines}\n{tunnel}")));
        assert!(error.contains(&format!("service.health_check.{expected}")), "{error}");
    }
}

const BACKENDS: &str = r#"
[[service.backend]]
address = "10.0.1.11"
[[service.backend]]
address = "10.0.1.12"
[service.backend.health_check]
interval = "5s"
path = "/other"
[[service.backend]]
address = "10.0.1.13"
[service.backend.health_check]
type = "tcp"
port = 90
[[service.backend]]
address = "10.0.1.14"
[service.backend.health_check]
type = "none"
"#;

#[test]
fn backends_may_be_checked_in_their_own_way() {
    let lines = "type = \"http\"\nport = 81\npath = \"/health\"\nhost = \"a.example\"\nrise = 9";
    let service = service(&(text("l2", lines) + BACKENDS));
    let of = |last: u8| service.check_of(&[10, 0, 1, last].into());
    assert_eq!(of(11), service.health_check.as_ref());
    let other = of(12).expect("checked");
    let Probe::Http(http) = &other.probe else { panic!("{:?}", other.probe) };
    assert_eq!((http.path.as_str(), http.host.is_some()), ("/other", true));
    assert_eq!((other.port, other.interval, other.rise), (81, Duration::from_secs(5), 9));
    let another = of(13).expect("checked");
    assert_eq!((&another.probe, another.port, another.rise), (&Probe::Tcp, 90, 9));
    assert_eq!(of(14), None);
    // A backend that a registry names.
    assert_eq!(of(99), service.health_check.as_ref());
}

#[test]
fn a_backend_alone_may_be_checked() {
    let backend = "[[service.backend]]\naddress = \"10.0.1.11\"\n[service.backend.health_check]\n";
    let with = |lines: &str| format!("{DAEMON}{SERVICE}{backend}{lines}\n");
    let service = service(&with("type = \"tcp\""));
    assert_eq!(service.health_check, None);
    assert!(service.check_of(&[10, 0, 1, 11].into()).is_some());
    assert_eq!(service.check_of(&[10, 0, 1, 12].into()), None);
    for (lines, expected) in [
        ("rise = 2", "lb.toml:10: service.backend.health_check.type: is missing"),
        (
            "type = \"none\"\nrise = 2",
            "lb.toml:10: service.backend.health_check.type: \"none\" stands",
        ),
        ("type = \"tcp\"\nbody = \"x\"", "lb.toml:12: service.backend.health_check.body: belongs"),
    ] {
        let error = error(&with(lines));
        assert!(error.starts_with(expected), "{error}");
    }
}

/// What says the same in another way gives way, too.
#[test]
fn keys_of_a_backend_replace_their_rivals() {
    let own = "[[service.backend]]\naddress = \"10.0.1.11\"\n[service.backend.health_check]\n";
    let lines = "type = \"tcp\"\nsend = \"PING\"\nexpect = \"PONG\"";
    let service = service(&(text("l2", lines) + own + "expect_hex = \"01\"\n"));
    let check = service.check_of(&[10, 0, 1, 11].into()).expect("checked");
    let Probe::TcpExchange(exchange) = &check.probe else { panic!("{:?}", check.probe) };
    assert_eq!(exchange.send, b"PING");
    assert!(matches!(exchange.expect, Some(Expect::Begins(_))));
}

#[test]
fn a_backend_may_take_any_certificate() {
    let own = "[[service.backend]]\naddress = \"10.0.1.11\"\n[service.backend.health_check]\n";
    let lines = "type = \"tls\"\nca_file = \"/etc/ca.pem\"\nserver_name = \"a.example\"";
    let service = service(&(text("l2", lines) + own + "verify = false\n"));
    let check = service.check_of(&[10, 0, 1, 11].into()).expect("checked");
    let Probe::Tls(options) = &check.probe else { panic!("{:?}", check.probe) };
    assert_eq!((options.verify, &options.ca_file), (false, &None));
    assert_eq!(options.server_name.as_deref(), Some("a.example"));
    // In one table it is a mistake.
    let error = error(&text("l2", &format!("{lines}\nverify = false")));
    assert!(error.contains("service.health_check.ca_file: nobody asks it"), "{error}");
}

/// Which port a backend with one of its own is asked at depends on it.
#[test]
fn a_port_that_is_named_is_told_from_the_services() {
    for (lines, expected) in
        [("", (80, false)), ("port = 80", (80, true)), ("port = 81", (81, true))]
    {
        let check = check(&format!("type = \"tcp\"\n{lines}"));
        assert_eq!((check.port, check.is_port_named), expected, "{lines}");
    }
}

#[test]
fn nobody_is_held_down_for_longer_than_a_day() {
    let recovery = |time: &str| format!("[service.recovery]\nhold_down = \"{time}\"\n");
    let with = |time: &str| text("l2", "type = \"tcp\"") + &recovery(time);
    for (time, seconds) in [("0s", 0), ("1day", 86_400)] {
        let hold_down = service(&with(time)).recovery.hold_down;
        assert_eq!(hold_down, Duration::from_secs(seconds));
    }
    let error = error(&with("86401s"));
    assert!(error.contains("service.recovery.hold_down: must be at most a day"), "{error}");
}
