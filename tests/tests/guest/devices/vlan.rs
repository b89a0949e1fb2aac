//! VLANs: lbd on a VLAN's device, and on the device below it.

use lb_tests::{Host, address::Family};

use super::{expect_service, pair};
use crate::site::{
    Site,
    config::{Config, Service},
    vip, xdp,
};

/// The VLAN, and the addresses of the router, the balancer and the backends in it.
const VLAN: u16 = 7;

fn address(family: Family, host: u8) -> String {
    match family {
        Family::V4 => format!("10.0.7.{host}/24"),
        Family::V6 => format!("fd00:7::{host}/64"),
    }
}

/// Adds the VLAN's device above `below`, with addresses.
fn join(host: &Host, below: &str, number: u8) {
    // Else the tag travels beside the frame, where no program sees it, and not in it.
    host.run(&["ethtool", "-K", below, "txvlan", "off"]).unwrap();
    let [v4, v6] = Family::ALL.map(|family| address(family, number));
    host.ip(&format!(
        "link add link {below} name vlan.{VLAN} type vlan id {VLAN}\n\
         address add {v4} dev vlan.{VLAN}\n\
         address add {v6} dev vlan.{VLAN} nodad\n\
         link set vlan.{VLAN} up"
    ))
    .unwrap();
}

/// The router, the balancer and both backends in the VLAN, besides the network as it was; what is
/// for the services is sent to the balancer in the VLAN.
fn site() -> Site {
    let site = Site::new(2);
    let topology = &site.topology;
    join(&topology.router, "br0", 254);
    for port in ["balancer", "be1", "be2"] {
        topology.router.run(&["ethtool", "-K", port, "txvlan", "off"]).unwrap();
    }
    join(&topology.balancer, "eth0", 1);
    for (number, backend) in topology.backends() {
        join(backend, "eth0", 10 + number);
    }
    let services = Family::ALL.map(lb_tests::address::services);
    let hops = Family::ALL.map(|family| address(family, 1));
    for (services, hop) in services.iter().zip(&hops) {
        let hop = hop.split('/').next().expect("an address");
        topology.router.ip(&format!("route replace {services} via {hop}")).unwrap();
    }
    site
}

fn config(interface: &str, mode: &str) -> Config {
    let services = Family::ALL.into_iter().flat_map(|family| pair(vip(family), family));
    Config::of(services)
        .set("interfaces", &format!("[\"{interface}\"]"))
        .set("xdp_mode", &format!("\"{mode}\""))
}

/// Clients' frames come in without a tag, and backends are reached by the VLAN's device.
#[test]
fn frames_get_the_tag_of_a_backends_vlan() {
    for mode in ["native", "generic"] {
        let mut site = site();
        for family in Family::ALL {
            let (services, hop) =
                (lb_tests::address::services(family), lb_tests::address::balancer(family));
            site.topology.router.ip(&format!("route replace {services} via {hop}")).unwrap();
        }
        let services = Family::ALL.into_iter().flat_map(|family| {
            let empty = [Service::tcp, Service::udp].into_iter().zip(["tcp", "udp"]);
            empty.map(move |(service, name)| {
                let name = format!("{name}-{}", vip(family).ip()).replace(':', "-");
                let backends = [11, 12].map(|host| address(family, host));
                backends.iter().fold(service(&name, vip(family)), |service, backend| {
                    let (backend, _) = backend.split_once('/').expect("a prefix");
                    service.weighted(backend.parse().expect("an address"), 100)
                })
            })
        });
        let config = Config::of(services).set("xdp_mode", &format!("\"{mode}\""));
        site.start(&config);
        site.until_all_are("up");
        for family in Family::ALL {
            expect_service(&site, vip(family));
        }
        expect_packets_in_vlan(&site, mode);
    }
}

/// Tags are in the frame when the program sees it, and stay there.
#[test]
fn tagged_frames_are_balanced_and_stay_tagged() {
    for mode in ["native", "generic"] {
        let mut site = site();
        site.start(&config("eth0", mode));
        site.until_all_are("up");
        // The backends answer requests that came in by the VLAN only.
        for (_, backend) in site.topology.backends() {
            backend.ip("link set vlan.7 down\nlink set vlan.7 up").unwrap();
        }
        for family in Family::ALL {
            expect_service(&site, vip(family));
        }
        expect_packets_in_vlan(&site, mode);
    }
}

#[track_caller]
fn expect_packets_in_vlan(site: &Site, mode: &str) {
    for (number, backend) in site.topology.backends() {
        let path = format!("/sys/class/net/vlan.{VLAN}/statistics/rx_packets");
        let count = backend.enter(|| std::fs::read_to_string(path)).unwrap();
        let count: u64 = count.trim().parse().unwrap();
        assert!(count > 40, "{mode}: be{number} got {count} packets in the VLAN");
    }
}

/// The kernel takes the tag off before a VLAN's device gets the frame, and puts it back.
#[test]
fn a_vlans_device_can_be_balanced_by_itself() {
    let mut site = site();
    site.start(&config(&format!("vlan.{VLAN}"), "auto"));
    site.until_all_are("up");
    let device = format!("vlan.{VLAN}");
    let program = xdp::program(&site.topology.balancer, &device).expect("a program");
    assert!(!program.is_native, "VLAN devices have no native mode");
    for family in Family::ALL {
        expect_service(&site, vip(family));
    }
}
