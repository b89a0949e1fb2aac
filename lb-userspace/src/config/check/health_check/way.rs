//! From where a check goes to where, and which way.

use std::net::IpAddr;

use lb_common::Forward;
use toml::Spanned;

use super::{Facts, kind::Kind, table::Table};
use crate::{
    config::check::fields::{Checked, address, one_of, port},
    model::{CheckVia, HealthCheck, Ports},
};

/// Takes the addresses and the port of a table over into a check.
pub(super) fn way(
    table: &Table,
    kind: Kind,
    facts: &Facts,
    check: HealthCheck,
) -> Checked<HealthCheck> {
    let field = |key: &str| table.field(key);
    let parsed = |raw: &Option<Spanned<String>>, key: &str| {
        raw.as_ref().map(|raw| address(raw, &field(key))).transpose()
    };
    let source = parsed(&table.raw.source, "source")?;
    if let (Some(source), Some(at)) = (source, &table.raw.source)
        && !is_one_machines(source)
    {
        return Err(table.fault(at, "source", "must be an address of this machine"));
    }
    let asked = parsed(&table.raw.address, "address")?;
    if let (Some(asked), Some(at)) = (asked, &table.raw.address)
        && !is_one_machines(asked)
    {
        return Err(table.fault(at, "address", "must be one machine's address"));
    }
    if let (Some(source), Some(asked), Some(at)) = (source, asked, &table.raw.source)
        && source.is_ipv4() != asked.is_ipv4()
    {
        return Err(table.fault(at, "source", "must be of the same IP version as `address`"));
    }
    let via = via(table, kind, facts)?;
    Ok(HealthCheck {
        port: port_of(table, kind, facts.ports)?,
        is_port_named: table.raw.port.is_some(),
        address: asked,
        source,
        via,
        ..check
    })
}

fn is_one_machines(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// 0 where a check without a port of its own is of a service without one.
fn port_of(table: &Table, kind: Kind, service: Ports) -> Checked<u16> {
    let has = match (&table.raw.port, service) {
        (Some(raw), _) => return port(raw, &table.field("port"), 1),
        (None, Ports::Exact(port)) if kind != Kind::Icmp => return Ok(port),
        (None, _) if !kind.has_port() => return Ok(0),
        (None, Ports::Every) => "every port",
        (None, Ports::Exact(_) | Ports::Range(..)) => "a range of ports",
    };
    Err(table.missing("port", format!("the service has {has}, so its check must name one")))
}

/// Clients' packets come through the tunnel, so it is part of what has to work: a backend that
/// answers at its own address may have no decapsulation, or lack the service's address.
fn via(table: &Table, kind: Kind, facts: &Facts) -> Checked<CheckVia> {
    let raw = &table.raw;
    let is_tunnelled = matches!(facts.forward, Forward::Ipip | Forward::Gue);
    let usual = if is_tunnelled && kind.has_port() && raw.address.is_none() {
        CheckVia::Tunnel
    } else {
        CheckVia::Direct
    };
    let choices = [("direct", CheckVia::Direct), ("tunnel", CheckVia::Tunnel)];
    let via = one_of(raw.via.clone(), &table.field("via"), &choices, usual)?;
    if via == CheckVia::Direct {
        return Ok(via);
    }
    if let Some(at) = &raw.source {
        let message = "a check through the tunnel has the source that the tunnel needs: leave it \
                       out, or write via = \"direct\"";
        return Err(table.fault(at, "source", message));
    }
    let Some(at) = &raw.via else { return Ok(via) };
    let trouble = if !is_tunnelled {
        "a tunnel leads to backends with forward = \"ipip\" or \"gue\" only".to_owned()
    } else if !kind.has_port() {
        format!("type \"{}\" sends nothing to a port, so nothing through the tunnel", kind.name())
    } else if raw.address.is_some() {
        "the tunnel ends at the backend, so it does not lead to another `address`".to_owned()
    } else {
        return Ok(via);
    };
    Err(table.fault(at, "via", trouble))
}
