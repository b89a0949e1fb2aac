//! From a service's policy to what packets are to be told.

use lb_common::{Address, Forward};

use crate::{
    config::Daemon,
    datapath::{
        desired::DesiredPing,
        keyed::MappedPrefix,
        policies::{DesiredPolicy, DesiredUdp, FlowLimit},
    },
    model::{self, Fragments, NoBackend, Ping, Service, UdpFlows},
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
        by_address: policy.fragments == Fragments::ByAddress,
        nat_ports: (service.forward == Forward::Nat).then_some(daemon.nat_ports),
    }
}

pub(super) const fn ping(ping: Ping) -> DesiredPing {
    match ping {
        Ping::Pass => DesiredPing::Pass,
        Ping::Answer => DesiredPing::Answer,
        Ping::Backend => DesiredPing::Backend,
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
