//! `FRAGMENTS`: the ports of datagrams whose first fragment has been seen, so that the others go
//! where it went.
//!
//! Sets as those of the flow cache, keyed by addresses, protocol and identification; what they
//! hold in the place of a backend and its generation are the ports.

use crate::{
    find,
    flow::{FlowSet, Remembered},
    packet::{Packet, Seen},
    settings::Settings,
    tables::Tables,
    verdict::Verdict,
};

/// Ticks for which a datagram's ports are kept: Linux reassembles for 30 seconds
/// (`net.ipv4.ipfrag_time`), and 32 ticks are that or more at up to 250 Hz.
const KEPT: u32 = 32;

/// Remembers the ports of a datagram by its first fragment. Where there is no room, the others
/// will not find their way, and are counted then.
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
    };
    let _ = set.put_within(datagram, ports, KEPT);
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
    let is_fresh = |found: &Remembered| u32::from(tables.now().wrapping_sub(found.seen)) <= KEPT;
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
