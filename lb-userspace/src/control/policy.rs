//! From a service's policy to what packets are to be told.

use std::net::IpAddr;

use lb_common::{Address, Forward};

use crate::{
    config::Daemon,
    datapath::{
        desired::DesiredPing,
        keyed::MappedPrefix,
        policies::{DesiredPolicy, DesiredUdp, FlowLimit},
        schedulers::DesiredScheduler,
    },
    model::{self, Fragments, NoBackend, Ping, Scheduler, Service, UdpFlows},
};

pub(super) fn desired(service: &Service, daemon: &Daemon) -> DesiredPolicy {
    let policy = &service.policy;
    let rule = |(prefix, is_allowed): (&ipnet::IpNet, &bool)| {
        (MappedPrefix::new(&prefix.addr().into(), prefix.prefix_len()), *is_allowed)
    };
    DesiredPolicy {
        rules: policy.sources.iter().map(rule).collect(),
        denies_others: policy.denies_others(),
        limit: policy.max_new_flows.map(limit),
        source_limit: policy.max_new_flows_per_source.map(limit),
        refuses: policy.no_backend == NoBackend::Refuse,
        udp: udp(&policy.udp_flows),
        scheduler: scheduler(service.scheduler),
        source_prefix: service
            .scheduler
            .affinity()
            .map(|affinity| affinity.prefix(service.vip.is_ipv6())),
        by_address: policy.fragments == Fragments::ByAddress,
        nat_ports: (service.forward == Forward::Nat).then_some(daemon.nat_ports),
        watches: service.watches_traffic(),
    }
}

/// Lets connections go on that name the identifiers of backends which were removed, unless others
/// have these now.
pub(super) fn keep_servers(
    udp: &mut DesiredUdp,
    departed: impl Iterator<Item = (IpAddr, Option<u64>)>,
) {
    let DesiredUdp::Quic { servers, .. } = udp else { return };
    for (address, id) in departed {
        let Some(id) = id else { continue };
        if !servers.values().any(|other| *other == id) {
            servers.insert(address.into(), id);
        }
    }
}

pub(super) const fn ping(ping: Ping) -> DesiredPing {
    match ping {
        Ping::Pass => DesiredPing::Pass,
        Ping::Answer => DesiredPing::Answer,
        Ping::Backend => DesiredPing::Backend,
    }
}

fn scheduler(scheduler: Scheduler) -> DesiredScheduler {
    let timeout = scheduler.affinity().and_then(|affinity| affinity.timeout);
    DesiredScheduler {
        choice: scheduler.in_packets(),
        weighing: scheduler.weighing(),
        source_timeout: timeout.unwrap_or_default(),
    }
}

const fn limit(limit: model::FlowLimit) -> FlowLimit {
    FlowLimit { per_minute: limit.rate.per_minute, burst: limit.burst }
}

fn udp(flows: &UdpFlows) -> DesiredUdp {
    match flows {
        UdpFlows::Hash => DesiredUdp::Hash,
        UdpFlows::Remember(timeout) => DesiredUdp::Remember(*timeout),
        UdpFlows::Quic { layout, servers } => DesiredUdp::Quic {
            layout: *layout,
            servers: servers.iter().map(|(address, id)| (Address::from(*address), *id)).collect(),
        },
    }
}
