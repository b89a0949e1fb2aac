//! Random services, and ways to their backends.

use std::{collections::BTreeMap, net::IpAddr};

use fastrand::Rng;
use lb_common::{Address, Forward, Link, NextHop, ServiceKey, service};
use lb_userspace::datapath::desired::{DesiredMember, DesiredService, Flows, Route};

use super::{clients::PORTS, once_in, one_of};
use crate::packets::INGRESS;

/// Two services, or a service and none, often differ in one byte.
pub(in crate::packets) const VIPS: [&str; 6] =
    ["10.200.0.1", "10.200.0.2", "10.200.1.1", "fd00:200::1", "fd00:200::2", "fd00:200:1::1"];
/// Backends of each family.
pub(in crate::packets) const BACKENDS: u16 = 6;
/// What tunnels to backends of either family show as their source, where it is not random.
pub(in crate::packets) const BACKEND_SOURCES: [&str; 2] = ["10.1.255.1", "fd00:1::ff:1"];

/// The key of a service, or of none.
pub(super) fn random_key(rng: &mut Rng) -> ServiceKey {
    let address: IpAddr = one_of(rng, &VIPS).parse().expect("service address");
    let protocol = one_of(rng, &[service::TCP, service::TCP, service::UDP]);
    ServiceKey::new(address.into(), one_of(rng, &PORTS), protocol)
}

/// A service with some of the backends, all of which take flows.
pub(super) fn random_service(rng: &mut Rng) -> DesiredService {
    let ipv6 = rng.bool();
    let members: Vec<u16> = (0..BACKENDS).filter(|_| rng.bool()).collect();
    DesiredService {
        key: random_key(rng),
        forward: one_of(rng, &[Forward::L2, Forward::Ipip, Forward::Ipip, Forward::Gue]),
        members: members
            .into_iter()
            .map(|number| DesiredMember {
                address: backend(number, ipv6),
                base_weight: 100,
                weight: 100,
                flows: Flows::Stay,
            })
            .collect(),
    }
}

/// Some members lose or regain their slots, and one may go for good.
pub(super) fn change(rng: &mut Rng, service: &mut DesiredService) {
    for member in &mut service.members {
        member.weight = one_of(rng, &[0, 50, 100, 100]);
        member.flows = one_of(rng, &[Flows::Stay, Flows::Drain, Flows::Leave]);
    }
    if once_in(rng, 5) {
        service.members.pop();
    }
}

/// The address of a backend.
pub(in crate::packets) fn backend(number: u16, ipv6: bool) -> Address {
    let address: IpAddr = if ipv6 {
        [0xfd00, 1, 0, 0, 0, 0, 0, number].into()
    } else {
        [10, 1, 0, number as u8].into()
    };
    address.into()
}

/// The addresses of all backends.
pub(in crate::packets) fn backends() -> impl Iterator<Item = Address> {
    (0..BACKENDS).flat_map(|number| [false, true].map(|ipv6| backend(number, ipv6)))
}

/// Ways to most of the backends.
pub(super) fn random_routes(rng: &mut Rng) -> BTreeMap<Address, Route> {
    backends()
        .filter_map(|address| {
            let is_known = !once_in(rng, 8);
            is_known.then(|| (address, random_route(rng, &address)))
        })
        .collect()
}

fn random_route(rng: &mut Rng, to: &Address) -> Route {
    let source: IpAddr = if to.is_ipv6() {
        rng.u128(..).to_be_bytes().into()
    } else {
        rng.u32(..).to_be_bytes().into()
    };
    Route { source: source.into(), next: random_next_hop(rng) }
}

/// The way to a backend, often the one that the packets came by.
pub(super) fn random_next_hop(rng: &mut Rng) -> NextHop {
    const I: u32 = INGRESS;

    let mut link = Link::default();
    rng.fill(&mut link.destination);
    rng.fill(&mut link.source);
    NextHop {
        interface: one_of(rng, &[I, I, I, I, I, I, 2, 2, u32::MAX, 0]),
        mtu: one_of(rng, &[1500, 1500, 1500, 1500, 3500, 65_535, 1280, 100, 60, 0]),
        link,
    }
}
