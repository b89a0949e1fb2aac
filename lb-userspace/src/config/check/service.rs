//! `[[service]]` and `[[service.backend]]`

use std::collections::BTreeMap;

use lb_common::Forward;
use toml::Spanned;

use super::{
    agent_check::agent_check,
    fields::{Checked, address, duration, fault, number, one_of, port},
    flow_rules::flow_rules,
    health_check::{self, health_check},
    outlier::outlier,
    policy::{Facts, policy},
    quorum::quorum,
    recovery::recovery,
    scaling::scaling,
    scheduler::{scheduler, table_slots},
    source::source,
};
use crate::{
    config::raw,
    model::{
        Backend, BackendRule, BadPorts, DEFAULT_WEIGHT, Ports, Protocol, Service, ServiceName, Vip,
    },
};

pub(crate) fn service(mut raw: raw::Service) -> Checked<Service> {
    let name = raw
        .name
        .get_ref()
        .parse::<ServiceName>()
        .map_err(|error| fault(&raw.name, "service.name", error))?;
    let vip: Vip = raw.vip.get_ref().parse().map_err(|error| {
        fault(&raw.vip, "service.vip", format!("`{}`: {error}", raw.vip.get_ref()))
    })?;
    let ports = ports(&raw.port)?;
    let protocol = one_of(
        raw.protocol.take(),
        "service.protocol",
        &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
        Protocol::Tcp,
    )?;
    let forward = forward(&raw.forward)?;
    let facts = Facts { vip, protocol, forward };
    let scheduler = scheduler(&mut raw, &facts)?;
    let mut policy = policy(&mut raw, &facts, scheduler)?;
    let quorum = quorum(raw.quorum.take(), &mut policy.no_backend)?;
    let flow_rules = flow_rules(&mut raw, &facts, &policy.udp_flows)?;
    let check_facts = health_check::Facts { ports, forward };
    let raw_check = raw.health_check.as_ref().map(|check| check.get_ref().clone());
    let health_check =
        raw.health_check.map(|check| health_check(check, &check_facts)).transpose()?;
    let mut check_overrides = BTreeMap::new();
    let mut backends: Vec<Backend> = Vec::with_capacity(raw.backends.len());
    for mut raw in raw.backends {
        let span = raw.address.clone();
        let own_check = raw.health_check.take();
        let backend = backend(raw, &facts, ports)?;
        if backends.iter().any(|other| other.address == backend.address) {
            return Err(fault(&span, "service.backend.address", "this backend is named twice"));
        }
        if let Some(own) = own_check {
            let check = health_check::of_backend(own, raw_check.clone(), &check_facts)?;
            check_overrides.insert(backend.address, check);
        }
        backends.push(backend);
    }
    Ok(Service {
        name,
        vip,
        ports,
        protocol,
        forward,
        health_check,
        check_overrides,
        agent_check: raw.agent_check.map(agent_check).transpose()?,
        outlier: outlier(raw.outlier)?,
        source: raw.source.map(source).transpose()?,
        flow_grace: duration(raw.flow_grace, "service.flow_grace", Service::DEFAULT_FLOW_GRACE)?,
        flow_rules,
        policy,
        scheduler,
        table_slots: table_slots(raw.table_slots)?,
        recovery: recovery(raw.recovery)?,
        quorum,
        scaling: scaling(raw.scaling, scheduler)?,
        backends,
    })
}

/// A number, or a range as text.
fn ports(raw: &Spanned<toml::Value>) -> Checked<Ports> {
    let ports = match raw.get_ref() {
        toml::Value::Integer(port) => u16::try_from(*port).map(Ports::one).map_err(|_| BadPorts),
        toml::Value::String(text) if text.contains('-') => text.parse(),
        _ => Err(BadPorts),
    };
    ports.map_err(|error| fault(raw, "service.port", error))
}

fn forward(raw: &Spanned<String>) -> Checked<Forward> {
    let field = "service.forward";
    match raw.get_ref().as_str() {
        "l2" => Ok(Forward::L2),
        "ipip" => Ok(Forward::Ipip),
        "gue" => Ok(Forward::Gue),
        "nat" => Ok(Forward::Nat),
        _ => Err(fault(raw, field, "must be \"l2\", \"ipip\", \"gue\" or \"nat\"")),
    }
}

fn backend(raw: raw::Backend, service: &Facts, ports: Ports) -> Checked<Backend> {
    let field = "service.backend.address";
    let address = address(&raw.address, field)?;
    let rule = BackendRule { vip: service.vip, forward: service.forward };
    rule.check(address).map_err(|error| fault(&raw.address, field, error))?;
    let port = raw.port.map(|raw| backend_port(&raw, service.forward, ports)).transpose()?;
    let weight =
        number(raw.weight, "service.backend.weight", 0, 65_535, u32::from(DEFAULT_WEIGHT))?;
    let priority = number(raw.priority, "service.backend.priority", 0, 255, 0)?;
    Ok(Backend {
        address,
        weight: weight as u16,
        port: port.unwrap_or_default(),
        priority: priority as u8,
    })
}

fn backend_port(raw: &Spanned<i64>, forward: Forward, ports: Ports) -> Checked<u16> {
    let field = "service.backend.port";
    if forward != Forward::Nat {
        return Err(fault(raw, field, "only forward = \"nat\" can change the port"));
    }
    if !matches!(ports, Ports::Exact(_)) {
        return Err(fault(raw, field, "flows to many ports cannot all go to one"));
    }
    port(raw, field, 1)
}
