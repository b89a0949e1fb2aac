//! Types of checks, and which keys belong to which.

use std::ops::Range;

use toml::Spanned;

use super::table::Table;
use crate::config::{check::fields::Checked, error::Fault, raw};

/// A type of check, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Http,
    Https,
    Tls,
    Grpc,
    Udp,
    Dns,
    Icmp,
    Exec,
}

use Kind::{Dns, Exec, Grpc, Http, Https, Icmp, Tcp, Tls, Udp};

/// In the order of the manual.
const KINDS: [(&str, Kind); 9] = [
    ("tcp", Tcp),
    ("http", Http),
    ("https", Https),
    ("tls", Tls),
    ("grpc", Grpc),
    ("udp", Udp),
    ("dns", Dns),
    ("icmp", Icmp),
    ("exec", Exec),
];

/// The word for a backend that is not checked.
const NONE: &str = "none";

/// What other load balancers take for a type.
const AGENT: &str = "agent";

impl Kind {
    /// The type that a table names; `None` where it says that there is no check.
    pub(super) fn of(table: &Table) -> Checked<Option<Self>> {
        let Some(at) = &table.raw.kind else {
            return Err(table.missing("type", format!("is missing: one of {}", names())));
        };
        if at.get_ref() == NONE {
            return Ok(None);
        }
        if at.get_ref() == AGENT {
            let message = "an agent is asked beside a check: write [service.agent_check]";
            return Err(table.fault(at, "type", message));
        }
        let found = KINDS.iter().find(|(name, _)| name == at.get_ref());
        found.map(|(_, kind)| Some(*kind)).ok_or_else(|| {
            table.fault(at, "type", format!("`{}` must be one of {}", at.get_ref(), names()))
        })
    }

    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        // Each has one.
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Whether it connects, or sends datagrams, to a port of the backend.
    pub(super) const fn has_port(self) -> bool {
        !matches!(self, Icmp | Exec)
    }
}

fn names() -> String {
    KINDS.map(|(name, _)| format!("\"{name}\"")).join(", ")
}

/// Refuses keys that mean nothing to a type.
pub(super) fn refuse_others(table: &Table, kind: Kind) -> Checked<()> {
    for (key, span, owners) in owned(&table.raw) {
        if let Some(span) = span.filter(|_| !owners.contains(&kind)) {
            let names: Vec<_> =
                owners.iter().map(|owner| format!("\"{}\"", owner.name())).collect();
            let message =
                format!("belongs to type {}, not to \"{}\"", names.join(" or "), kind.name());
            return Err(Fault { span, field: table.field(key), message });
        }
    }
    Ok(())
}

/// A key that not all types have: its name, its place if it is written, and the types.
type Owned = (&'static str, Option<Range<usize>>, &'static [Kind]);

fn owned(raw: &raw::HealthCheck) -> [Owned; 25] {
    const EXCHANGE: &[Kind] = &[Tcp, Udp];
    const HTTP: &[Kind] = &[Http, Https];
    const SECURE: &[Kind] = &[Https, Tls, Grpc];

    [
        ("port", at(&raw.port), &[Tcp, Http, Https, Tls, Grpc, Udp, Dns, Exec]),
        ("source", at(&raw.source), &[Tcp, Http, Https, Tls, Grpc, Udp, Dns, Icmp]),
        ("send", at(&raw.send), EXCHANGE),
        ("send_hex", at(&raw.send_hex), EXCHANGE),
        ("expect", at(&raw.expect), EXCHANGE),
        ("expect_hex", at(&raw.expect_hex), EXCHANGE),
        ("method", at(&raw.method), HTTP),
        ("path", at(&raw.path), HTTP),
        ("host", at(&raw.host), HTTP),
        ("headers", at(&raw.headers), HTTP),
        ("status", at(&raw.status), HTTP),
        ("body", at(&raw.body), HTTP),
        ("http", at(&raw.http), HTTP),
        ("tls", at(&raw.tls), &[Grpc]),
        ("verify", at(&raw.verify), SECURE),
        ("ca_file", at(&raw.ca_file), SECURE),
        ("server_name", at(&raw.server_name), SECURE),
        ("certificate_days", at(&raw.certificate_days), SECURE),
        ("grpc_service", at(&raw.grpc_service), &[Grpc]),
        ("query", at(&raw.query), &[Dns]),
        ("record", at(&raw.record), &[Dns]),
        ("answer", at(&raw.answer), &[Dns]),
        ("transport", at(&raw.transport), &[Dns]),
        ("command", at(&raw.command), &[Exec]),
        ("weight_from_exit", at(&raw.weight_from_exit), &[Exec]),
    ]
}

fn at<T>(key: &Option<Spanned<T>>) -> Option<Range<usize>> {
    key.as_ref().map(Spanned::span)
}
