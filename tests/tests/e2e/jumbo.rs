//! Jumbo frames: packets that do not fit into one buffer.

use std::net::SocketAddr;

use lb_tests::{Download, Mtus, address::Family, report::DownloadLine};

use crate::site::{
    PATIENCE, Site,
    client::exchange,
    config::{Config, Service},
    second_vip,
    upload::upload,
    vip, xdp,
};

const MTUS: Mtus = Mtus { client: 9000, servers: 9100 };
const BYTES: u64 = 30_000_000;

/// A TCP and a UDP service for each way and each family of clients; backends have the other family
/// where packets travel in tunnels.
fn services(direct: bool, forward: &'static str) -> Vec<Service> {
    Family::ALL
        .into_iter()
        .flat_map(|family| {
            let (target, backends) = target(direct, family);
            let name = |protocol| format!("{protocol}-{}", target.ip()).replace(':', "-");
            let pair = [Service::tcp(&name("tcp"), target), Service::udp(&name("udp"), target)];
            pair.map(|service| service.to(backends, 1..=2).forwarded(forward))
        })
        .collect()
}

fn target(direct: bool, family: Family) -> (SocketAddr, Family) {
    match (direct, family) {
        (true, _) => (vip(family), family),
        (false, Family::V4) => (second_vip(family), Family::V6),
        (false, Family::V6) => (second_vip(family), Family::V4),
    }
}

#[test]
fn jumbo_frames_are_carried_whole_in_native_mode() {
    jumbo_frames_are_carried_whole("native");
}

#[test]
fn jumbo_frames_are_carried_whole_in_generic_mode() {
    jumbo_frames_are_carried_whole("generic");
}

fn jumbo_frames_are_carried_whole(mode: &str) {
    for tunnel in ["ipip", "gue"] {
        let services = [services(true, "l2"), services(false, tunnel)].concat();
        let config = Config::of(services).set("xdp_mode", &format!("\"{mode}\""));
        let site = Site::with_mtus(2, MTUS).run(&config);
        let interface = site.json(&["status"])["interfaces"][0].clone();
        assert_eq!((&interface["mode"], &interface["jumbo"]), (&mode.into(), &true.into()));
        assert!(site.ask(&["status"]).contains(&format!("eth0 {mode}, jumbo frames")));
        for (direct, family) in [true, false].into_iter().flat_map(|d| Family::ALL.map(|f| (d, f)))
        {
            let (target, _) = target(direct, family);
            let case = format!("{mode}, {}, {target}", if direct { "l2" } else { tunnel });
            let client = &site.topology.client;
            for size in [100, 1400, 3400, 3500, 8000, 8900] {
                let content = lb_tests::content::bytes(size, size as usize);
                // The answer has the server's name in front, and still fits into the MTU.
                let echo = exchange(client, 30_000, target, &content);
                let echo = echo.unwrap_or_else(|error| panic!("{case}, {size} bytes: {error}"));
                assert!(echo.ends_with(&content), "{case}: {} of {size} bytes", echo.len());
            }
            let download = Download::start(client, target, BYTES, 0).unwrap();
            let end = download.finish(6 * PATIENCE).unwrap();
            let is_complete = matches!(end, DownloadLine::Complete { bytes: BYTES });
            assert!(is_complete, "{case}: {end:?}");
            upload(client, target, BYTES).unwrap_or_else(|error| panic!("{case}: {error}"));
        }
    }
}

/// Usual interfaces keep the variant for one buffer.
#[test]
fn interfaces_with_usual_frames_have_the_usual_program() {
    let config = Config::of(services(true, "l2"));
    let site = Site::new(2).run(&config);
    assert_eq!(site.json(&["status"])["interfaces"][0]["jumbo"], false);
    assert!(site.ask(&["status"]).contains("eth0 native\n"));
}

/// What an interface has got stays when lbd starts again, in another variant if its MTU has
/// changed.
#[test]
fn a_restart_keeps_the_attachment() {
    let mut site = Site::with_mtus(2, MTUS).run(&Config::of(services(true, "l2")));
    let before = xdp::program(&site.topology.balancer, "eth0").expect("a program");
    site.close_accounts();
    site.kill_lbd();
    site.topology.balancer.ip("link set eth0 mtu 1500").unwrap();
    site.start_lbd();
    site.until("the program to be replaced", || {
        let now = xdp::program(&site.topology.balancer, "eth0").ok_or("no program")?;
        (now.id != before.id && now.is_native).then_some(()).ok_or_else(|| format!("{now:?}"))
    });
}
