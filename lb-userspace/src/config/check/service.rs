//! `[[service]]` and `[[service.backend]]`

use std::net::IpAddr;

use lb_common::Forward;
use toml::Spanned;

use super::{
    fields::{Checked, address, duration, fault, number, one_of, port},
    health_check::health_check,
    source::source,
};
use crate::{
    config::raw,
    model::{Backend, DEFAULT_WEIGHT, Protocol, Service, ServiceName, check_address},
};

pub(crate) fn service(raw: raw::Service) -> Checked<Service> {
    let name = raw
        .name
        .get_ref()
        .parse::<ServiceName>()
        .map_err(|error| fault(&raw.name, "service.name", error))?;
    let vip = address(&raw.vip, "service.vip")?;
    if vip.is_unspecified() || vip.is_multicast() || vip.is_loopback() {
        return Err(fault(&raw.vip, "service.vip", "this address cannot be a service's"));
    }
    let port = port(&raw.port, "service.port", 0)?;
    let health_check = raw.health_check.map(|check| health_check(check, port)).transpose()?;
    let mut backends: Vec<Backend> = Vec::with_capacity(raw.backends.len());
    for raw in raw.backends {
        let span = raw.address.clone();
        let backend = backend(raw, vip)?;
        if backends.iter().any(|other| other.address == backend.address) {
            return Err(fault(&span, "service.backend.address", "this backend is named twice"));
        }
        backends.push(backend);
    }
    Ok(Service {
        name,
        vip,
        port,
        protocol: one_of(
            raw.protocol,
            "service.protocol",
            &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
            Protocol::Tcp,
        )?,
        forward: forward(&raw.forward)?,
        health_check,
        source: raw.source.map(source).transpose()?,
        flow_grace: duration(raw.flow_grace, "service.flow_grace", Service::DEFAULT_FLOW_GRACE)?,
        backends,
    })
    .and_then(|service| scheduler(raw.scheduler).map(|()| service))
}

fn forward(raw: &Spanned<String>) -> Checked<Forward> {
    let field = "service.forward";
    match raw.get_ref().as_str() {
        "l2" => Ok(Forward::L2),
        "ipip" => Ok(Forward::Ipip),
        "gue" => Ok(Forward::Gue),
        "nat" => {
            Err(fault(raw, field, "not available in this version: use \"l2\" or \"ipip\""))
        }
        _ => Err(fault(raw, field, "must be \"l2\" or \"ipip\"")),
    }
}

fn scheduler(raw: Option<Spanned<String>>) -> Checked<()> {
    one_of(raw, "service.scheduler", &[("consistent-hash", ())], ())
}

fn backend(raw: raw::Backend, vip: IpAddr) -> Checked<Backend> {
    let field = "service.backend.address";
    let address = address(&raw.address, field)?;
    check_address(address, vip).map_err(|error| fault(&raw.address, field, error))?;
    if let Some(port) = raw.port {
        let message = "only forward = \"nat\" can change the port, which is not available yet";
        return Err(fault(&port, "service.backend.port", message));
    }
    let weight =
        number(raw.weight, "service.backend.weight", 0, 65_535, u32::from(DEFAULT_WEIGHT))?;
    Ok(Backend { address, weight: weight as u16 })
}
