//! Random services, and ways to their backends.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use fastrand::Rng;
use lb_common::{Address, Forward, Link, NextHop, ServiceKey, service};
use lb_userspace::{
    datapath::{
        desired::{DesiredMember, DesiredPing, DesiredService, Flows, Route},
        keyed::MappedPrefix,
        policies::{DesiredPolicy, DesiredUdp, FlowLimit},
        schedulers::DesiredScheduler,
    },
    model::Weighing,
};

use super::{
    clients::{PORTS, PREFIXES},
    keys::random_service_key,
    once_in, one_of,
    udp::random_udp,
};
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
    let members = members.into_iter().map(|number| DesiredMember {
        address: backend(number, ipv6),
        port: 0,
        base_weight: 100,
        weight: 100,
        flows: Flows::Stay,
    });
    let forward =
        one_of(rng, &[Forward::L2, Forward::Ipip, Forward::Ipip, Forward::Gue, Forward::Nat]);
    let (key, last_port) = random_service_key(rng);
    let plain = DesiredService::plain(key, forward, members.collect());
    let mut service = DesiredService { last_port, ..plain };
    service.ping = one_of(rng, &[None, Some(DesiredPing::Pass), Some(DesiredPing::Answer)]);
    if rng.bool() {
        service.policy = random_policy(rng);
        if key.protocol() == service::UDP {
            service.policy.udp = random_udp(rng, &service.members);
        }
    }
    if once_in(rng, 2) {
        service.policy.scheduler = random_scheduler(rng, forward);
    }
    if service.policy.scheduler.remembers() && key.protocol() == service::UDP {
        // As the configuration has it: without a time they would be forgotten at any moment.
        service.policy.udp = DesiredUdp::Remember(Duration::from_secs(600));
    }
    if once_in(rng, 6) {
        service.policy.source_prefix = Some(one_of(rng, &[1, 24, 32, 64, 128]));
    }
    if forward == Forward::Nat { translated(rng, service) } else { service }
}

/// A scheduler whose choice does not depend on how long the kernel takes: host and kernel do not
/// measure the same time.
fn random_scheduler(rng: &mut Rng, forward: Forward) -> DesiredScheduler {
    use lb_common::policy::Scheduler::{
        LeastFlows, LeastTime, Random, Rotate, Slot, Source, TwoChoices,
    };
    let choice = one_of(rng, &[Slot, Source, Rotate, Random, TwoChoices, LeastFlows, LeastTime]);
    let is_measured = choice == LeastTime && forward == Forward::Nat;
    DesiredScheduler {
        choice: if is_measured { LeastFlows } else { choice },
        weighing: one_of(rng, &[Weighing::ByWeight, Weighing::Equal]),
        source_timeout: Duration::from_secs(one_of(rng, &[100, 600])),
    }
}

/// A policy that asks for a few things. Limits are so slow that the time plays no part.
fn random_policy(rng: &mut Rng) -> DesiredPolicy {
    let mut limit = || {
        let burst = one_of(rng, &[0, 1, 5, 50, 1000]);
        once_in(rng, 6).then_some(FlowLimit { per_minute: 1, burst })
    };
    let (limit, source_limit) = (limit(), limit());
    let mut rules = BTreeMap::new();
    for (prefix, length) in PREFIXES {
        let address: IpAddr = prefix.parse().expect("a prefix");
        if once_in(rng, 8) {
            rules.insert(MappedPrefix::new(&address.into(), length), rng.bool());
        }
    }
    DesiredPolicy {
        denies_others: !rules.is_empty() && once_in(rng, 4),
        rules,
        limit,
        source_limit,
        refuses: rng.bool(),
        by_address: once_in(rng, 4),
        ..DesiredPolicy::default()
    }
}

/// A service whose backends show it a few ports or many, are mostly of its family, and may have a
/// port of their own.
fn translated(rng: &mut Rng, mut service: DesiredService) -> DesiredService {
    service.policy.nat_ports = Some((NAT_PORT, NAT_PORT + one_of(rng, &[0, 2, 100])));
    service.policy.watches = rng.bool();
    service.ping = once_in(rng, 2).then_some(DesiredPing::Backend);
    let ipv6 = service.key.is_ipv6() != once_in(rng, 16);
    let port = one_of(rng, &[0, 8080]);
    for (number, member) in service.members.iter_mut().enumerate() {
        (member.address, member.port) = (backend(number as u16, ipv6), port);
    }
    service
}

/// The first port that translated flows show to backends.
pub(super) const NAT_PORT: u16 = 5000;

/// Some members lose or regain their slots, and one may go for good.
pub(super) fn change(rng: &mut Rng, service: &mut DesiredService) {
    for member in &mut service.members {
        member.weight = one_of(rng, &[0, 50, 100, 100]);
        member.flows = one_of(rng, &[Flows::Stay, Flows::Keep, Flows::Reset, Flows::Leave]);
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
        vlan: one_of(rng, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xfff]),
        link,
    }
}
