//! The kernel's own devices at the far end of our tunnels.

use lb_tests::{
    Host,
    address::{self, Family},
};

use super::{expect_service, pair};
use crate::site::{
    Site,
    config::{Config, Service},
    second_vip, vip,
};

/// Devices that open what is sent to this backend: all four combinations of families.
fn open_by_devices(backend: &Host, number: u8) {
    let [v4, v6] = Family::ALL.map(|family| address::backend(family, number));
    backend
        .ip(&format!(
            "link add four-in-four type ipip local {v4}\n\
             link add six-in-four type sit local {v4}\n\
             link add any-in-six type ip6tnl mode any local {v6}\n\
             link set four-in-four up\n\
             link set six-in-four up\n\
             link set any-in-six up"
        ))
        .unwrap();
}

fn received(backend: &Host, device: &str) -> u64 {
    let text = backend.enter(|| {
        std::fs::read_to_string(format!("/sys/class/net/{device}/statistics/rx_packets"))
    });
    text.unwrap().trim().parse().unwrap()
}

/// The port of GUE, as the backend's kernel reads it.
fn take_gue(backend: &Host) {
    for family in ["-4", "-6"] {
        backend.run(&["ip", family, "fou", "add", "port", "6080", "gue"]).unwrap();
    }
}

/// Services over IPv4 and IPv6, each to backends of its own family and of the other.
fn all_combinations() -> Config {
    let mut services = Vec::new();
    for (inner, other) in [(Family::V4, Family::V6), (Family::V6, Family::V4)] {
        services.extend(pair(vip(inner), inner).map(Service::by_tunnel));
        services.extend(pair(second_vip(inner), other).map(Service::by_tunnel));
    }
    Config::of(services)
}

#[track_caller]
fn expect_all_opened(site: &Site) {
    for inner in Family::ALL {
        expect_service(site, vip(inner));
        expect_service(site, second_vip(inner));
    }
    for (number, backend) in site.topology.backends() {
        for device in ["four-in-four", "six-in-four", "any-in-six"] {
            assert!(received(backend, device) > 0, "{device} of be{number} got nothing");
        }
    }
}

#[test]
fn devices_open_ipip_in_all_combinations_of_families() {
    let mut site = Site::new(2);
    for (number, backend) in site.topology.backends() {
        open_by_devices(backend, number);
    }
    site.start(&all_combinations());
    site.until_all_are("up");
    expect_all_opened(&site);
}

#[test]
fn the_kernel_opens_gue_in_all_combinations_of_families() {
    let mut site = Site::new(2);
    for (number, backend) in site.topology.backends() {
        open_by_devices(backend, number);
        take_gue(backend);
    }
    let config = all_combinations().to_string();
    site.write_config(&config.replace("\"ipip\"", "\"gue\""));
    site.start_lbd();
    site.until_all_are("up");
    expect_all_opened(&site);
}
