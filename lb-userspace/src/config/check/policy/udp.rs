//! `udp_flows` and what belongs to it.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lb_common::{Forward, policy::ServerIdLayout};
use toml::Spanned;

use super::Facts;
use crate::{
    config::{
        check::fields::{Checked, address, duration, fault, number, one_of},
        error::Fault,
        raw,
    },
    model::{Protocol, Scheduler, UdpFlows},
};

const FIELD: &str = "service.udp_flows";
const SERVER_ID: &str = "service.backend.server_id";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hash,
    Remember,
    Quic,
}

/// Takes out of a service how flows of UDP find their backend.
pub(super) fn udp_flows(
    raw: &mut raw::Service,
    facts: &Facts,
    scheduler: Scheduler,
) -> Checked<UdpFlows> {
    let choices = [("hash", Kind::Hash), ("remember", Kind::Remember), ("quic", Kind::Quic)];
    let at = raw.udp_flows.take();
    let are_remembered =
        scheduler.remembers() && facts.protocol == Protocol::Udp && facts.forward != Forward::Nat;
    let usual = if are_remembered { Kind::Remember } else { Kind::Hash };
    let kind = one_of(at.clone(), FIELD, &choices, usual)?;
    if let Some(at) = &at {
        require_udp(at, FIELD, facts)?;
        require_no_translation(at, facts)?;
        if are_remembered && kind != Kind::Remember {
            let message = format!(
                "scheduler = \"{}\" finds the backend of a flow that goes on only where it is \
                 remembered: write \"remember\", or leave this out",
                scheduler.name()
            );
            return Err(fault(at, FIELD, message));
        }
    }
    if let Some(timeout) = &raw.udp_timeout {
        require_udp(timeout, "service.udp_timeout", facts)?;
    }
    if let Some(layout) = &raw.quic_server_id {
        require_udp(layout, "service.quic_server_id", facts)?;
    }
    if kind != Kind::Remember
        && let Some(timeout) = &raw.udp_timeout
    {
        return Err(fault(timeout, "service.udp_timeout", "needs udp_flows = \"remember\""));
    }
    if kind != Kind::Quic
        && let Some(layout) = &raw.quic_server_id
    {
        return Err(fault(layout, "service.quic_server_id", "needs udp_flows = \"quic\""));
    }
    let layout = raw.quic_server_id.take().map(layout).transpose()?;
    let servers = servers(&raw.backends, layout)?;
    match (kind, layout) {
        (Kind::Hash, _) => Ok(UdpFlows::Hash),
        (Kind::Remember, _) => timeout(raw.udp_timeout.take()).map(UdpFlows::Remember),
        (Kind::Quic, Some(layout)) => Ok(UdpFlows::Quic { layout, servers }),
        (Kind::Quic, None) => {
            let at = at.map_or(0..0, |at| at.span());
            let message = "\"quic\" needs quic_server_id = { offset = …, length = … }".to_owned();
            Err(Fault { span: at, field: FIELD.to_owned(), message })
        }
    }
}

fn require_udp<T>(at: &Spanned<T>, field: &str, facts: &Facts) -> Checked<()> {
    if facts.protocol == Protocol::Udp {
        return Ok(());
    }
    Err(fault(at, field, "is for protocol = \"udp\" only"))
}

fn require_no_translation(at: &Spanned<String>, facts: &Facts) -> Checked<()> {
    if facts.forward == Forward::Nat && at.get_ref() != "hash" {
        let message = "forward = \"nat\" remembers every flow in its own way: leave this out";
        return Err(fault(at, FIELD, message));
    }
    Ok(())
}

fn timeout(raw: Option<Spanned<String>>) -> Checked<Duration> {
    /// The clock of the flow cache comes round a little later.
    const MOST: Duration = Duration::from_secs(4 * 60 * 60);

    let field = "service.udp_timeout";
    let Some(at) = raw.clone() else { return Ok(UdpFlows::DEFAULT_TIMEOUT) };
    let timeout = duration(raw, field, UdpFlows::DEFAULT_TIMEOUT)?;
    if !(Duration::from_secs(1)..=MOST).contains(&timeout) {
        return Err(fault(&at, field, "must be from 1s to 4h"));
    }
    Ok(timeout)
}

fn layout(raw: Spanned<raw::QuicServerId>) -> Checked<ServerIdLayout> {
    /// RFC 9000 section 17.2.
    const LONGEST_CONNECTION_ID: u32 = 20;

    let field = "service.quic_server_id";
    let raw::QuicServerId { offset, length } = raw.into_inner();
    let offset_at = offset.clone();
    let length = number(Some(length), &format!("{field}.length"), 1, 8, 0)?;
    let offset = number(Some(offset), &format!("{field}.offset"), 0, 18, 0)?;
    if offset + length > LONGEST_CONNECTION_ID {
        let message = "a connection identifier has at most 20 bytes, offset and length together";
        return Err(fault(&offset_at, &format!("{field}.offset"), message));
    }
    Ok(ServerIdLayout { offset: offset as u16, length: length as u16 })
}

/// The backends' identifiers.
fn servers(
    backends: &[raw::Backend],
    layout: Option<ServerIdLayout>,
) -> Checked<BTreeMap<IpAddr, u64>> {
    let mut servers: BTreeMap<IpAddr, u64> = BTreeMap::new();
    for backend in backends {
        let Some(text) = &backend.server_id else { continue };
        let Some(layout) = layout else {
            let message = "needs udp_flows = \"quic\" and quic_server_id";
            return Err(fault(text, SERVER_ID, message));
        };
        let id = server_id(text, layout)?;
        if servers.values().any(|other| *other == id) {
            return Err(fault(text, SERVER_ID, "another backend has this identifier"));
        }
        servers.insert(address(&backend.address, "service.backend.address")?, id);
    }
    Ok(servers)
}

/// A number of exactly as many bytes as the layout says, in hexadecimal digits.
fn server_id(text: &Spanned<String>, layout: ServerIdLayout) -> Checked<u64> {
    let digits = 2 * usize::from(layout.length);
    let shown = text.get_ref();
    let is_hex = shown.len() == digits && shown.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = is_hex.then(|| u64::from_str_radix(shown, 16).ok()).flatten();
    id.ok_or_else(|| {
        let message = format!("`{shown}` is not {digits} hexadecimal digits, as the length says");
        fault(text, SERVER_ID, message)
    })
}
