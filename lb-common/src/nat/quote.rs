//! ICMP errors that quote a packet of a translated flow.
//!
//! Whoever receives one must find its own packet in it: addresses and ports of the quoted packet
//! are translated as well, with the checksums that cover them. A quoted packet goes against the
//! packets of the flow that the error belongs to, so it gets the flow's tuple the other way round.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{
    Tuple,
    entry::{Translation, sum},
    is_alive, meet, pairs,
    rewrite::{self, ICMP_CHECKSUM, TCP_CHECKSUM, UDP_CHECKSUM},
    signals,
};
use crate::{
    address, checksum, forward,
    frame::Frame,
    hop_limit,
    packet::{self, Kind, Layout},
    send::{self, Way},
    service::{TCP, UDP},
    tables::Tables,
    uncommon::{Step, Work},
    verdict::Verdict,
};

/// Bytes of the quoted transport header that every error has, RFC 792.
const LEAST: usize = 8;

/// Translates an error for whoever sent the packet that it quotes.
#[inline(always)]
pub(crate) fn quote<F: Frame, T: Tables>(work: &mut Work, frame: &mut F, tables: &T) -> Step {
    let is_request = work.found.table.is_present();
    let tuple = if is_request {
        Tuple::of_request(&work.seen.packet)
    } else {
        Tuple::of_answer(&work.seen.packet)
    };
    let Some(entry) = tables.translation(&tuple) else {
        let missing = if is_request { Verdict::NatUnknownFlow } else { Verdict::NotService };
        return Step::Done(missing);
    };
    if let Some(flaw) = work.flaw(frame) {
        return Step::Done(flaw);
    }
    if !is_request {
        if work.seen.packet.hop_limit <= 1 {
            return Step::Done(Verdict::HopLimit);
        }
        let is_unreachable = packet::is_unreachable(frame, &work.seen.packet);
        let link = entry.client_link();
        if is_unreachable && let Some(signals) = signals(tables, entry) {
            signals.unreachable();
        }
        return match rewrite(work, frame, &tuple, entry, link) {
            Some(()) => Step::Done(send::leave(tables, entry.client_interface())),
            None => Step::Done(Verdict::Malformed),
        };
    }
    if !is_alive(tables, entry) {
        return Step::Done(Verdict::NoBackend);
    }
    work.backend = entry.backend;
    let way = match Way::find(tables, &work.seen.packet, &work.seen.tags, entry.backend) {
        Ok(way) => way,
        Err(obstacle) => return meet(work, tables, &obstacle),
    };
    if rewrite(work, frame, &tuple, entry, way.backend.link()).is_none() {
        return Step::Done(Verdict::Malformed);
    }
    send::count(tables, &work.seen.packet, work.found.service, entry.backend);
    Step::Done(send::leave(tables, way.interface))
}

/// Writes both headers. `None` if the error does not hold what it quotes.
#[inline(always)]
fn rewrite<F: Frame>(
    work: &Work,
    frame: &mut F,
    tuple: &Tuple,
    entry: &Translation,
    link: [u8; 12],
) -> Option<()> {
    let Kind::Error { quoted } = work.seen.kind else { return None };
    let packet = &work.seen.packet;
    let end = packet.layout.network() + packet.length as usize;
    if quoted.transport() + LEAST > end {
        return None;
    }
    let ports = checksum::fold(rewrite::ports_delta(packet, &entry.tuple));
    let inner = quoted_delta(frame, quoted, end, entry, ports)?;
    rewrite::addresses(frame, quoted.network(), &entry.tuple.reversed(), entry.delta())?;

    let source = outer_source(frame, packet.layout.network(), packet.ipv6)?;
    let is_peer = source == tuple.source;
    let outer = Tuple {
        // The peer's own address is as little known there as in the quoted packet.
        source: if is_peer { entry.tuple.source } else { source },
        destination: entry.tuple.destination,
        ..entry.tuple
    };
    let more = if is_peer {
        entry.delta()
    } else {
        u32::from(sum(&outer.destination)) + rewrite::complement(sum(&tuple.destination))
    };
    let check = frame.header_mut::<[u8; 2]>(packet.layout.transport() + ICMP_CHECKSUM)?;
    // Only ICMPv6 covers the addresses, RFC 4443 section 2.3.
    *check = rewrite::updated(*check, if packet.ipv6 { inner + more } else { inner });
    rewrite::addresses(frame, packet.layout.network(), &outer, more)?;
    hop_limit::decrement(frame, packet)?;
    forward::rewrite_link(frame, link)
}

/// Translates the quoted transport header, whose ports grow by `ports`. Returns by how much the sum
/// of all that is quoted grows.
#[inline(always)]
fn quoted_delta<F: Frame>(
    frame: &mut F,
    quoted: Layout,
    end: usize,
    entry: &Translation,
    ports: u16,
) -> Option<u32> {
    let (start, tuple) = (quoted.transport(), &entry.tuple);
    let addresses = if tuple.is_ipv6() { entry.delta() } else { 0 };
    // An IPv4 header's own checksum takes up what its addresses grow by; so does the transport's,
    // where it is quoted and there is one.
    let headers = addresses + u32::from(ports);
    let offset = match tuple.protocol_number() {
        TCP => TCP_CHECKSUM,
        UDP => UDP_CHECKSUM,
        _ => {
            rewrite::echo(frame, start, tuple, headers)?;
            return Some(0);
        }
    };
    *frame.header_mut::<[u8; 4]>(start)? = rewrite::port_bytes(&tuple.reversed());
    if start + offset + 2 > end {
        return Some(headers);
    }
    let covered = entry.delta() + u32::from(ports);
    let is_udp = tuple.protocol_number() == UDP;
    let check = frame.header_mut::<[u8; 2]>(start + offset)?;
    if is_udp && u16::from_be_bytes(*check) == 0 {
        return Some(headers);
    }
    *check = if is_udp {
        rewrite::updated_udp(*check, covered)
    } else {
        rewrite::updated(*check, covered)
    };
    Some(headers + rewrite::complement(checksum::fold(covered)))
}

/// Who sent the error, as in [`Tuple::source`].
#[inline(always)]
fn outer_source<F: Frame>(frame: &F, network: usize, ipv6: bool) -> Option<[u64; 2]> {
    if ipv6 {
        return Some(pairs(address::words(frame.header::<Ipv6Hdr>(network)?.src_addr)));
    }
    let address = u32::from_ne_bytes(frame.header::<Ipv4Hdr>(network)?.src_addr);
    Some(pairs([address, 0, 0, 0]))
}
