//! Random outer sources and ports of tunnels.

use fastrand::Rng;
use lb_userspace::datapath::tunnels::Tunnels;

use super::{Configuration, one_of};
use crate::packets::{Balancer, GUE_PORT};

/// Prefixes with no, some and all of the bits free that can be.
const SOURCES: [&[&str]; 4] = [
    &[],
    &["10.1.0.0/16"],
    &["10.1.255.16/28", "fd00:1::ff:0/112"],
    &["192.0.2.1/32", "fd00:1::ff:ff00/120"],
];

/// Lets a filled balancer show something else in its tunnels from now on.
pub(super) fn change(rng: &mut Rng, configuration: &Configuration, balancer: &mut Balancer) {
    let sources = one_of(rng, &SOURCES).iter().map(|text| text.parse().expect("a prefix"));
    let sources: Vec<_> = sources.collect();
    let port = one_of(rng, &[GUE_PORT, 1, 0xffff]);
    let tables = balancer.tables();
    tables.set_tunnels(Tunnels::new(port, &sources));
    for (address, route) in &configuration.routes {
        tables.reroute(address, |_| Some(*route));
    }
}
