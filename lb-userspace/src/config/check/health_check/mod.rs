//! `[service.health_check]` and `[service.backend.health_check]`

mod dns;
mod exchange;
mod exec;
mod http;
mod kind;
mod merge;
mod table;
mod timing;
mod tls;
mod way;

use lb_common::Forward;
use toml::Spanned;

use super::fields::Checked;
use crate::{
    config::raw,
    model::{Exchange, HealthCheck, Ports, Probe, UdpProbe},
};
use kind::Kind;
use table::Table;

/// What of a service decides on its checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Ports that clients reach.
    pub(super) ports: Ports,
    /// How packets get to the backends.
    pub(super) forward: Forward,
}

/// How a service's backends are checked.
pub(super) fn health_check(raw: Spanned<raw::HealthCheck>, facts: &Facts) -> Checked<HealthCheck> {
    let span = raw.span();
    let table = Table { path: "service.health_check", span, raw: raw.into_inner() };
    match Kind::of(&table)? {
        Some(kind) => checked(&table, kind, facts),
        None => Err(table.missing(
            "type",
            "\"none\" is for single backends: leave the table out to check nobody",
        )),
    }
}

/// How a backend is checked that has keys of its own, over those of its service; `None` is not at
/// all.
pub(super) fn of_backend(
    raw: Spanned<raw::HealthCheck>,
    service: Option<raw::HealthCheck>,
    facts: &Facts,
) -> Checked<Option<HealthCheck>> {
    let span = raw.span();
    let own = Table { path: "service.backend.health_check", span, raw: raw.into_inner() };
    if own.raw.kind.is_some() && Kind::of(&own)?.is_none() {
        return nothing_else(&own).map(|()| None);
    }
    let raw = merge::merge(own.raw, service.unwrap_or_default());
    let table = Table { raw, ..own };
    Kind::of(&table)?.map(|kind| checked(&table, kind, facts)).transpose()
}

/// Where there is no check there is nothing to say of it.
fn nothing_else(table: &Table) -> Checked<()> {
    let kind = table.raw.kind.clone();
    if table.raw == (raw::HealthCheck { kind, ..raw::HealthCheck::default() }) {
        return Ok(());
    }
    Err(table.missing("type", "\"none\" stands alone: it needs no other keys"))
}

fn checked(table: &Table, kind: Kind, facts: &Facts) -> Checked<HealthCheck> {
    kind::refuse_others(table, kind)?;
    let check = HealthCheck::new(probe(table, kind)?, 0);
    timing::timing(table, way::way(table, kind, facts, check)?)
}

fn probe(table: &Table, kind: Kind) -> Checked<Probe> {
    Ok(match kind {
        Kind::Tcp => match (exchange::send(table)?, exchange::expect(table)?) {
            (send, None) if send.is_empty() => Probe::Tcp,
            (send, expect) => Probe::TcpExchange(Exchange { send, expect }),
        },
        Kind::Http => Probe::Http(Box::new(http::http(table, None)?)),
        Kind::Https => Probe::Http(Box::new(http::http(table, Some(tls::tls(table)?))?)),
        Kind::Tls => Probe::Tls(tls::tls(table)?),
        Kind::Grpc => Probe::Grpc(tls::grpc(table)?),
        Kind::Udp => {
            Probe::Udp(UdpProbe { send: exchange::send(table)?, expect: exchange::expect(table)? })
        }
        Kind::Dns => Probe::Dns(dns::dns(table)?),
        Kind::Icmp => Probe::Icmp,
        Kind::Exec => Probe::Exec(exec::exec(table)?),
    })
}
