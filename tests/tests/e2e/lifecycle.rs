//! lbd comes and goes; the data plane stays until it is told to go.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use lb_tests::{Load, address::Family, clock};

use crate::site::{
    Site,
    client::{ask_tcp, expect_none_failed, watch},
    config::{Config, Service},
    vip,
    xdp::{self, files_below, pins},
};

const REQUESTS_PER_SECOND: u32 = 100;

/// Web and echo in both families, through tunnels, with checks.
fn config() -> Config {
    Config::of(Family::ALL.into_iter().flat_map(|family| {
        let name = |protocol| format!("{protocol}-{family}");
        let services =
            [Service::tcp(&name("web"), vip(family)), Service::udp(&name("echo"), vip(family))];
        services.map(|service| service.by_tunnel().to(family, 1..=3).checked())
    }))
}

fn loads(site: &Site) -> Vec<Load> {
    let client = &site.topology.client;
    let pair = |family| {
        [
            Load::http(client, vip(family), REQUESTS_PER_SECOND).unwrap(),
            Load::udp(client, vip(family), REQUESTS_PER_SECOND).unwrap(),
        ]
    };
    Family::ALL.into_iter().flat_map(pair).collect()
}

/// Lets requests of every load be answered that start from now on.
#[track_caller]
fn go_on(loads: &[Load]) {
    let mark = clock::now_ms();
    loads.iter().for_each(|load| watch(load, mark, 80));
}

#[test]
fn a_crash_loses_nothing_and_a_restart_takes_over() {
    let mut site = Site::running(3, &config());
    let program = xdp::program(&site.topology.balancer, "eth0").expect("a program");
    let loads = loads(&site);
    go_on(&loads);

    site.kill_lbd();
    assert_eq!(site.lbctl(&["status"]).code, 3);
    go_on(&loads);
    assert_eq!(xdp::program(&site.topology.balancer, "eth0"), Some(program));

    site.start_lbd();
    site.until_all_are("up");
    go_on(&loads);
    assert_eq!(site.json(&["status"])["adopted"], true);
    // The tables were right, so nothing was computed anew.
    assert_eq!(site.metrics().sum("lb_table_rebuilds_total", &[]), 0);
    for load in loads {
        expect_none_failed(&load, 0);
    }
}

#[test]
fn a_stop_leaves_the_data_plane_and_detach_removes_all_of_it() {
    let mut site = Site::running(3, &config());
    site.close_accounts();
    let loads = loads(&site);
    go_on(&loads);
    let refused = site.lbctl(&["detach"]);
    assert_eq!(refused.code, 5, "{refused:?}");

    site.stop_lbd();
    go_on(&loads);
    for load in loads {
        expect_none_failed(&load, 0);
        load.finish().unwrap();
    }
    let balancer = &site.topology.balancer;
    assert!(!balancer.path("/run/lb/lbd.sock").exists(), "the socket");
    assert!(!pins(balancer).is_empty());

    assert!(site.ask(&["detach"]).contains("eth0"));
    assert_eq!(xdp::program(balancer, "eth0"), None);
    assert_eq!(pins(balancer), [""; 0]);
    let again = site.lbctl(&["detach"]);
    assert_eq!(again.code, 4, "{again:?}");

    // From nothing, it begins anew.
    site.start_lbd();
    site.until_all_are("up");
    assert_eq!(site.json(&["status"])["adopted"], false);
    ask_tcp(&site.topology.client, 20_000, vip(Family::V4)).unwrap();
}

#[test]
fn a_second_lbd_is_refused_and_the_first_serves_on() {
    /// The promise: who starts a second one is told so at once.
    const AT_ONCE: Duration = Duration::from_secs(1);

    let service = Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=1);
    let config = Config::of([service]);
    let site = Site::running(1, &config);
    let pid = site.lbd().pid().to_string();
    let program = xdp::program(&site.topology.balancer, "eth0");
    let load = Load::http(&site.topology.client, vip(Family::V4), REQUESTS_PER_SECOND).unwrap();

    // What both would use of the first one's: the state, the pins, the socket.
    let own = |key, value: &str| (key, format!("\"{value}\""));
    let socket = || own("api_socket", "/run/lb/other.sock");
    let state = || own("state_dir", "/var/lib/lb/other");
    let pins = || own("pin_dir", "/sys/fs/bpf/other");
    for (others, setting) in [
        (vec![], "daemon.state_dir"),
        (vec![socket(), pins()], "daemon.state_dir"),
        (vec![socket(), state()], "daemon.pin_dir"),
        (vec![state(), pins()], "daemon.api_socket"),
    ] {
        let config =
            others.into_iter().fold(config.clone(), |config, (key, value)| config.set(key, &value));
        site.write_config(&config.set("metrics_listen", "\"127.0.0.1:9902\"").to_string());
        let begun = Instant::now();
        let second = site.run_lbd(&[]);
        let took = begun.elapsed();
        assert_eq!(second.code, 1, "{setting}: {second:?}");
        let last = second.stderr.lines().last().unwrap_or_default();
        let named = format!("another lbd (pid {pid}, lbd)");
        assert!(last.contains(&named) && last.contains(setting), "{setting}: {second:?}");
        assert!(took < AT_ONCE, "{setting}: {took:?}");
    }
    // Nor does lbctl take the data plane away when it asks at the wrong door.
    let detach = site.lbctl(&["--socket", "/run/lb/other.sock", "detach"]);
    assert_eq!(detach.code, 5, "{detach:?}");

    assert_eq!(site.json(&["status"])["pid"].to_string(), pid);
    assert_eq!(xdp::program(&site.topology.balancer, "eth0"), program);
    expect_none_failed(&load, 0);
    assert!(!site.topology.balancer.path("/sys/fs/bpf/other").exists());
}

#[test]
fn another_seed_or_other_limits_make_new_tables_and_serve_on() {
    let config = config();
    let mut site = Site::running(3, &config);
    site.close_accounts();
    let carried = "new ones take over their flows";
    for (key, value, told) in [
        ("max_flows", "65536", carried),
        ("max_backends", "100", carried),
        ("max_slots", "262144", carried),
        ("hash_seed", "\"another secret\"", "flows are hashed anew"),
    ] {
        site.kill_lbd();
        site.start(&config.clone().set(key, value));
        let status = site.json(&["status"]);
        assert_eq!(status["adopted"], false, "{key}: {status}");
        let log = site.lbd().log();
        assert!(log.contains(told), "{key}: what becomes of flows is told: {log}");
        let loads = loads(&site);
        loads.iter().for_each(|load| watch(load, 0, 20));
        for load in loads {
            expect_none_failed(&load, 0);
        }
        let left = pins(&site.topology.balancer);
        assert!(left.iter().all(|pin| !pin.contains("maps-")), "{left:?}");
    }
}

/// Bounds for lbd and its maps with a small configuration. The program is not an optimised one: of what
/// is resident some 50 MiB are its own pages, and 5 are memory that it has asked for.
#[test]
fn the_demos_configuration_needs_little_memory() {
    const MIB: u64 = 1 << 20;
    let mut site = Site::new(4);
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/ipip.toml");
    site.write_config(&std::fs::read_to_string(demo).unwrap());
    // Checks take the tunnel too.
    site.open_tunnels();
    site.start_lbd();
    site.until_all_are("up");
    let status = site.json(&["status"]);
    for (key, most) in [("resident_bytes", 64 * MIB), ("map_bytes", 64 * MIB)] {
        let bytes = status[key].as_u64().unwrap();
        assert!((MIB..most).contains(&bytes), "{key}: {status}");
    }
}

#[test]
fn a_missing_interface_is_named_and_nothing_is_touched() {
    let service = Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=1);
    let site = Site::new(1);
    let balancer = &site.topology.balancer;
    let config = Config::of([service]).set("interfaces", "[\"eth0\", \"eth7\"]");
    site.write_config(&config.to_string());
    let refused = site.run_lbd(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("`eth7`"), "{refused:?}");
    assert_eq!(xdp::program(balancer, "eth0"), None);
    assert_eq!(pins(balancer), [""; 0]);
    assert!(!balancer.path("/run/lb/lbd.sock").exists());
    let state = files_below(&balancer.path("/var/lib/lb"));
    assert!(state.iter().all(|file| file.ends_with("lock")), "{state:?}");
}

/// A neighbour that is slow to say its hardware address has not moved: packets go on.
#[test]
fn a_restart_keeps_the_way_to_a_backend_that_does_not_answer_at_once() {
    let config = Config::of([Service::tcp("web", vip(Family::V4)).to(Family::V4, 1..=1)]);
    let mut site = Site::running(1, &config);
    let load = Load::http(&site.topology.client, vip(Family::V4), REQUESTS_PER_SECOND).unwrap();
    watch(&load, 0, 20);
    site.kill_lbd();
    // It answers no questions, but asks, receives and sends.
    site.topology.backend(1).sysctl("ipv4/conf/all/arp_ignore", "8").unwrap();
    site.topology.balancer.ip("neigh flush dev eth0").unwrap();
    site.start_lbd();
    let next_hop = &site.json(&["backend", "show", "web/10.0.1.11"])["backends"][0]["next_hop"];
    assert!(next_hop.to_string().contains("does not answer"), "{next_hop}");
    watch(&load, clock::now_ms(), 30);
    expect_none_failed(&load, 0);
}
