//! `FRAGMENTS`: the ports of datagrams whose first fragment has been seen, so that the others go
//! where it went.
//!
//! Sets as those of the flow cache, keyed by addresses, protocol and identification; what they
//! hold in the place of a backend and its generation are the ports.

use crate::{
    find,
    flow::{self, FlowSet, Phase, Remembered},
    packet::{Packet, Seen},
    settings::Settings,
    tables::Tables,
    verdict::Verdict,
};

/// Ticks for which a datagram's ports are believed: half a minute, as long as Linux reassembles
/// (`net.ipv4.ipfrag_time`). Fragments follow each other within milliseconds; the
/// bound is for identifications that are used again.
const KEPT: u32 = 32;

/// Remembers the ports of a datagram by its first fragment, in the place of the datagram that is
/// the oldest of its set: what lasts for milliseconds needs no protection from what is new.
#[inline(always)]
pub(crate) fn remember<T: Tables>(tables: &T, settings: &Settings, seen: &Seen, id: u32) {
    let datagram = seen.datagram(&settings.hash_key, id);
    let Some(set) = tables.fragment_set(FlowSet::of(datagram, settings.fragment_mask)) else {
        return;
    };
    let ports = Remembered {
        backend: seen.packet.client_port(),
        generation: seen.packet.key.port(),
        seen: tables.now(),
        phase: Phase::Open,
    };
    set.replace(datagram, ports);
}

/// A later fragment with the ports of its datagram. Where they are not known, those of the
/// address' service for such fragments; else a verdict.
#[inline(always)]
pub(crate) fn matched<T: Tables>(
    tables: &T,
    settings: &Settings,
    seen: &Seen,
    id: u32,
) -> Result<Packet, Verdict> {
    let datagram = seen.datagram(&settings.hash_key, id);
    let set = tables.fragment_set(FlowSet::of(datagram, settings.fragment_mask));
    let is_fresh = |found: &Remembered| u32::from(flow::idle(tables.now(), found.seen)) <= KEPT;
    if let Some(found) = set.and_then(|set| set.get(datagram)).filter(is_fresh) {
        return Ok(seen.packet.with_ports(found.backend, found.generation));
    }
    let entry = find::address(tables, settings, &seen.packet.key);
    if !entry.is_known() {
        return Err(Verdict::Fragment);
    }
    let (port, protocol) = entry.default_service().ok_or(Verdict::FragmentUnmatched)?;
    Ok(seen.packet.for_service(seen.packet.key.at(port, protocol)))
}
