//! Another version of lbd, and other sizes of its maps: flows go along.
//!
//! The other version is `lbd-next-layout`: lbd with maps of another layout.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use lb_tests::{
    Load,
    address::{self, Family},
    clock,
};

use crate::site::{
    Site,
    client::{ask_udp, expect_none_failed, watch},
    config::{Config, Service},
    crowd::{self, Crowd, Members},
    second_vip, vip,
    xdp::{self, pins},
};

const THIS: &str = "lbd";
const NEXT: &str = "lbd-next-layout";
const V4: Family = Family::V4;

/// A web service by direct routing and one by translation, and UDP flows that are remembered. None
/// of the backends is given up while old flows may be silent.
fn config() -> Config {
    let web = Service::tcp("web", vip(V4)).key("flow_grace = \"10m\"");
    let echo =
        Service::udp("echo", vip(V4)).key("udp_flows = \"remember\"").key("udp_timeout = \"10m\"");
    let nat = Service::tcp("nat", second_vip(V4)).by_translation(80);
    Config::of([web.to(V4, 1..=2), echo.to(V4, 1..=2), nat.to(V4, 1..=2)])
}

/// Flows of all kinds, some from before a change of backends and some from after it.
struct Flows {
    /// Asked all the time.
    busy: Crowd,
    /// Silent until the end: remembered by nobody.
    silent: Members,
    /// Ports of UDP flows and who answers them.
    datagrams: Vec<(u16, String)>,
    /// New flows all the time.
    load: Load,
}

impl Flows {
    #[track_caller]
    fn open(site: &Site) -> Self {
        let client = &site.topology.client;
        let silent = crowd::open(client, 2000..2060, vip(V4));
        let mut busy = crowd::open(client, 3000..3100, vip(V4));
        busy.extend(crowd::open(client, 4000..4050, second_vip(V4)));
        let ask = |port| (port, ask_udp(client, port, vip(V4)).expect("an echo"));
        let datagrams: Vec<_> = (5000..5040).map(ask).collect();
        for service in ["web", "echo", "nat"] {
            let name = format!("{service}/{}", address::backend(V4, 3));
            site.ask(&["backend", "add", &name]);
            site.until_is(&name, "up");
        }
        // These begin while slots are disputed.
        busy.extend(crowd::open(client, 3100..3200, vip(V4)));
        busy.extend(crowd::open(client, 4050..4100, second_vip(V4)));
        let load = Load::http(client, vip(V4), 100).unwrap();
        watch(&load, 0, 20);
        Self { busy: Crowd::start(busy), silent, datagrams, load }
    }

    /// Everything was asked since something has changed, also what begins now.
    #[track_caller]
    fn go_on(self, when: &str) -> Self {
        let busy = self.busy.go_round(when);
        watch(&self.load, clock::now_ms(), 30);
        Self { busy, ..self }
    }

    #[track_caller]
    fn finish(mut self, site: &Site) {
        self.expect_datagrams_stay(site, "at the end");
        let broken = crowd::broken(&mut self.silent);
        assert!(broken.is_empty(), "{} of those that were silent: {broken:#?}", broken.len());
        expect_none_failed(&self.load, 0);
        drop(self.busy.finish());
    }

    #[track_caller]
    fn expect_datagrams_stay(&self, site: &Site, when: &str) {
        let moved = |(port, server): &(u16, String)| {
            let now = ask_udp(&site.topology.client, *port, vip(V4));
            let stays = now.as_ref().is_ok_and(|now| now == server);
            (!stays).then(|| format!("port {port}: {now:?}, not {server}"))
        };
        let moved: Vec<_> = self.datagrams.iter().filter_map(moved).collect();
        assert!(moved.is_empty(), "{when}: {} datagrams: {moved:#?}", moved.len());
    }
}

/// Starts lbd, and opens connections until it serves, one after the other: some of them begin in every
/// part of its start.
#[track_caller]
fn start_beside_newcomers(site: &mut Site, program: &str, first_port: u16) -> Members {
    site.begin_to_start(program);
    let (site, is_over) = (&*site, AtomicBool::new(false));
    let open = || {
        let ports = (first_port..first_port + 600).take_while(|_| !is_over.load(Ordering::Relaxed));
        ports.flat_map(|port| crowd::open(&site.topology.client, port..port + 1, vip(V4))).collect()
    };
    thread::scope(|scope| {
        let newcomers = scope.spawn(open);
        site.until_it_answers();
        is_over.store(true, Ordering::Relaxed);
        newcomers.join().expect("every connection is opened")
    })
}

fn disputed(site: &Site) -> u64 {
    site.json(&["service", "show", "web"])["services"][0]["disputed_slots"]
        .as_u64()
        .expect("a number")
}

/// Nothing but what one version needs is pinned.
#[track_caller]
fn expect_only(site: &Site, layout: &str) {
    let strangers: Vec<_> = pins(&site.topology.balancer)
        .into_iter()
        .filter(|pin| {
            !pin.contains(&format!("/lb/{layout}/maps/")) && !pin.ends_with("/lb/links/eth0")
        })
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[track_caller]
fn expect_taken_over(site: &Site) {
    let log = site.lbd().log();
    let line = log.lines().find(|line| line.contains("new ones take over their flows"));
    let line = line.unwrap_or_else(|| panic!("nothing was taken over: {log}"));
    assert!(line.contains("services=3") && !line.contains(" flows=0 "), "{line}");
    assert!(line.contains("refused=0") && line.contains("without_room=0"), "{line}");
}

#[test]
fn upgrades_downgrades_and_other_sizes_break_no_flow() {
    let mut site = Site::running(3, &config());
    site.close_accounts();
    let mut flows = Flows::open(&site);
    flows.expect_datagrams_stay(&site, "before");
    let before = disputed(&site);
    assert!(before > 0);
    let sizes = [
        ("max_flows", "65536"),
        ("max_backends", "100"),
        ("max_slots", "1048576"),
        ("max_services", "100"),
        ("max_nat_flows", "8192"),
    ];
    let other_sizes =
        sizes.into_iter().fold(config(), |config, (key, value)| config.set(key, value));
    let steps = [
        (NEXT, config(), "v4"),
        (THIS, config(), "v3"),
        (THIS, other_sizes.clone(), "v3"),
        (NEXT, other_sizes, "v4"),
        (THIS, config(), "v3"),
    ];
    for (number, (program, config, layout)) in steps.into_iter().enumerate() {
        site.stop_lbd();
        flows = flows.go_on("without lbd");
        let program_before = xdp::program(&site.topology.balancer, "eth0");
        site.write_config(&config.to_string());
        let first_port = 6000 + 600 * number as u16;
        let mut newcomers = start_beside_newcomers(&mut site, program, first_port);
        expect_taken_over(&site);
        assert_ne!(xdp::program(&site.topology.balancer, "eth0"), program_before);
        flows = flows.go_on(&format!("after {program}, layout {layout}"));
        flows.expect_datagrams_stay(&site, program);
        let (all, broken) = (newcomers.len(), crowd::broken(&mut newcomers));
        assert!(all > 10, "{all} is too few to tell");
        assert!(broken.is_empty(), "{program}: {} of {all} newcomers: {broken:#?}", broken.len());
        assert_eq!(disputed(&site), before, "slots are as they were");
        expect_only(&site, layout);
    }
    flows.finish(&site);
}

/// Whenever a start is cut short, packets go on by what they went by before, and the next start
/// finds it, be it of this version or of the other.
#[test]
fn an_upgrade_that_is_killed_at_any_moment_breaks_no_flow() {
    let mut site = Site::running(3, &config());
    site.close_accounts();
    let mut flows = Flows::open(&site);
    site.kill_lbd();
    for (number, program) in
        [NEXT, THIS, NEXT, NEXT, THIS, THIS].into_iter().cycle().take(24).enumerate()
    {
        site.begin_to_start(program);
        // Not a time that anything is measured by: a start takes longer or not, and is cut anywhere.
        thread::sleep(Duration::from_millis(40 + 25 * number as u64));
        site.kill_lbd();
        flows = flows.go_on(&format!("killed start {number} of {program}"));
    }
    site.start_version(THIS);
    flows = flows.go_on("after a whole start");
    expect_only(&site, "v3");
    flows.finish(&site);
}

/// All flows are hashed anew, but those that are translated have entries of their own.
#[test]
fn another_secret_breaks_no_translated_flow() {
    let mut site = Site::running(2, &config());
    site.close_accounts();
    let target: SocketAddr = second_vip(V4);
    let members = crowd::open(&site.topology.client, 4000..4050, target);
    let busy = Crowd::start(members);
    site.stop_lbd();
    site.start(&config().set("hash_seed", "\"another secret\""));
    let log = site.lbd().log();
    assert!(log.contains("flows are hashed anew"), "what is lost is told: {log}");
    drop(busy.go_round("with another secret").finish());
}
