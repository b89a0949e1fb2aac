//! Checks take dead backends out and bring them back, and tell why.

use lb_tests::{
    Load,
    address::{self, Family},
    clock,
};

use crate::site::{
    Site,
    client::{ask_udp, expect_none_failed, send, watch},
    config::{Config, Service},
    metrics, vip,
};

/// Web and echo with three backends, checked.
fn config() -> Config {
    let services = [Service::tcp("web", vip(Family::V4)), Service::udp("echo", vip(Family::V4))];
    Config::of(services.map(|service| service.to(Family::V4, 1..=3).checked()))
}

#[test]
fn a_dead_server_is_taken_out_and_comes_back() {
    let mut site = Site::running(3, &config());
    let load = Load::http(&site.topology.client, vip(Family::V4), 150).unwrap();
    watch(&load, 0, 50);
    let changes = |site: &Site, service| {
        let labels = [("service", service), ("backend", "10.0.1.13")];
        site.metrics().sum("lb_backend_state_changes_total", &labels)
    };
    let before = changes(&site, "web");

    site.kill_server(3);
    let row = site.until_is("web/10.0.1.13", "down");
    let is_explained =
        row.reason.contains("3 failed checks") && row.reason.ends_with("last: connect was refused");
    assert!(is_explained, "{row:?}");
    assert!(row.slots_share.abs() < f64::EPSILON, "{row:?}");
    let shown = site.json(&["backend", "show", "web/10.0.1.13"])["backends"][0].clone();
    assert_eq!(shown["health"], "down", "{shown}");
    assert_eq!(changes(&site, "web"), before + 1);

    let out = clock::now_ms();
    watch(&load, out, 100);
    let all = expect_none_failed(&load, out);
    assert!(!all.served.contains_key("be3"), "{all:?}");
    site.until_is("echo/10.0.1.13", "down");

    site.start_server(3);
    let back = clock::now_ms();
    let row = site.until_is("web/10.0.1.13", "up");
    assert!(row.reason.contains("passed check"), "{row:?}");
    watch(&load, back, 200);
    let all = expect_none_failed(&load, back);
    assert!(all.served.contains_key("be3"), "{all:?}");
    assert_eq!(changes(&site, "web"), before + 2);
    let metrics = site.metrics();
    let attempts = |result| {
        let labels = [("service", "web"), ("backend", "10.0.1.13"), ("result", result)];
        metrics.sum("lb_check_attempts_total", &labels)
    };
    assert!(attempts("failed") >= 3 && attempts("passed") >= 2, "{}", metrics.text());
}

#[test]
fn a_silent_machine_is_taken_out_and_comes_back() {
    let site = Site::running(3, &config());
    let silence = format!("blackhole {}/32", address::balancer(Family::V4));
    let backend = site.topology.backend(2);
    backend.ip(&format!("route add {silence}")).unwrap();
    let row = site.until_is("web/10.0.1.12", "down");
    assert!(row.reason.ends_with("last: connect timed out after 200 ms"), "{row:?}");
    assert_eq!(site.backend("web/10.0.1.11").state, "up");
    backend.ip(&format!("route del {silence}")).unwrap();
    site.until_all_are("up");
}

#[test]
fn without_any_backend_packets_are_dropped_until_one_returns() {
    let mut site = Site::running(3, &config());
    (1..=3).for_each(|number| site.kill_server(number));
    site.until_all_are("down");
    let client = &site.topology.client;
    for port in 20_000..20_003 {
        send(client, port, vip(Family::V4), 5);
    }
    let dropped = [("action", "drop"), ("reason", "no_backend")];
    site.until("three drops", || {
        let count = site.metrics().sum("lb_xdp_packets_total", &dropped);
        (count == 3).then_some(()).ok_or_else(|| format!("{count}"))
    });
    for service in ["web", "echo"] {
        assert_eq!(site.metrics().sum("lb_service_up", &[("service", service)]), 0);
    }

    site.start_server(1);
    site.until_is("echo/10.0.1.11", "up");
    for port in 20_000..20_003 {
        let answer = ask_udp(&site.topology.client, port, vip(Family::V4)).unwrap();
        assert_eq!(answer, "be1");
    }
    assert_eq!(site.metrics().sum("lb_service_up", &[("service", "echo")]), 1);
}

/// A restart of lbd must not forget who was dead: it would send new flows there.
#[test]
fn a_restart_remembers_who_is_down() {
    let mut site = Site::running(3, &config());
    site.kill_server(3);
    site.until_is("web/10.0.1.13", "down");
    site.kill_lbd();
    let load = Load::http(&site.topology.client, vip(Family::V4), 150).unwrap();
    watch(&load, 0, 20);
    site.start_lbd();
    let restarted = clock::now_ms();
    assert_eq!(site.backend("web/10.0.1.13").state, "down");
    watch(&load, restarted, 100);
    expect_none_failed(&load, 0);
}

#[test]
fn probes_tell_whether_lbd_lives_and_is_ready() {
    let config = config().set("interfaces", "[\"eth0\", \"eth1\"]");
    let mut site = Site::new(3);
    let add = "link add eth1 type veth peer name eth1-peer";
    site.topology.balancer.ip(add).unwrap();
    site.start(&config);
    site.until_all_are("up");
    let balancer = &site.topology.balancer;
    let status = |path| metrics::get(balancer, path, "").status;
    assert_eq!([status("/livez"), status("/readyz")], [200, 200]);
    assert_eq!(status("/nothing"), 404);

    balancer.ip("link del eth1").unwrap();
    let answer = site.until("lbd to be not ready", || {
        let answer = metrics::get(balancer, "/readyz", "");
        (answer.status == 503).then_some(answer.body).ok_or_else(|| answer_of(answer.status))
    });
    assert!(answer.contains("eth1"), "{answer}");
    assert_eq!(status("/livez"), 200);
    assert_eq!(site.metrics().sum("lb_xdp_attached", &[("iface", "eth1")]), 0);
    assert_eq!(site.metrics().sum("lb_xdp_attached", &[("iface", "eth0")]), 1);

    balancer.ip(add).unwrap();
    site.until("lbd to be ready again", || {
        let code = status("/readyz");
        (code == 200).then_some(()).ok_or_else(|| answer_of(code))
    });
}

fn answer_of(code: u16) -> String {
    format!("it answers {code}")
}

#[test]
fn metrics_come_in_both_formats() {
    let site = Site::running(3, &config());
    let balancer = &site.topology.balancer;
    let classic = metrics::get(balancer, "/metrics", "");
    assert!(classic.head.contains("text/plain; version=0.0.4"), "{}", classic.head);
    assert!(!classic.body.contains("# EOF"));
    let accept = "Accept: application/openmetrics-text\r\n";
    let open = metrics::get(balancer, "/metrics", accept);
    assert!(open.head.contains("application/openmetrics-text"), "{}", open.head);
    assert!(open.body.ends_with("# EOF\n"));

    let metrics = site.metrics();
    for name in [
        "lb_build_info",
        "lb_xdp_packets_total",
        "lb_xdp_attached",
        "lb_service_packets_total",
        "lb_service_bytes_total",
        "lb_service_new_flows_total",
        "lb_service_backends",
        "lb_service_up",
        "lb_backend_packets_total",
        "lb_backend_bytes_total",
        "lb_backend_new_flows_total",
        "lb_backend_state",
        "lb_backend_weight",
        "lb_check_attempts_total",
        "lb_check_duration_seconds_count",
        "lb_slots",
        "lb_table_rebuilds_total",
        "lb_map_bytes",
        "lb_config_last_reload_success",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(!metrics.samples(name, &[]).is_empty(), "no {name}:\n{}", metrics.text());
    }
    let web = [("service", "web")];
    assert_eq!(metrics.sum("lb_service_backends", &web), 3);
    assert_eq!(metrics.sum("lb_backend_state", &[web[0], ("state", "up")]), 3);
    assert_eq!(metrics.sum("lb_backend_weight", &[web[0], ("kind", "effective")]), 300);
    let status = site.json(&["status"]);
    assert_eq!(status["map_bytes"], metrics.sum("lb_map_bytes", &[]));
}
