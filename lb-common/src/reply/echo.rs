//! Echo replies, RFC 792 and RFC 4443 section 4.2: the request itself, sent back.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::Occasion;
use crate::{
    checksum, forward,
    frame::Frame,
    service::{ICMP, ICMPV6},
    tables::Tables,
    verdict::Verdict,
};

/// What becomes of the sum of a message's words when the type of a request becomes that of a
/// reply, 8 to 0 or 128 to 129; its complement for the checksum, RFC 1624 section 3.
const CHANGE: u32 = 0x0800;
const CHANGE_IPV6: u32 = 0xfeff;

/// Answers an echo request. One with IP options or extension headers passes: they would have to be
/// turned round, too.
#[inline(always)]
pub(super) fn answer<F: Frame, T: Tables>(occasion: &Occasion<'_, T>, frame: &mut F) -> Verdict {
    let packet = &occasion.work.seen.packet;
    let shortest = if packet.ipv6 { Ipv6Hdr::LEN } else { Ipv4Hdr::LEN } as u32;
    if packet.layout.header() != shortest {
        return Verdict::NotTransport;
    }
    if !packet.is_well_formed(frame) {
        return Verdict::Malformed;
    }
    let Some(ends) = occasion.ends(frame) else { return Verdict::NotTransport };
    if !occasion.is_within_budget() {
        return Verdict::ReplyLimited;
    }
    let network = packet.layout.network();
    let class = packet.traffic_class;
    let written = if packet.ipv6 {
        ends.write_ipv6(frame, network, class, packet.length - shortest, ICMPV6)
            .and_then(|()| turn(frame, network + Ipv6Hdr::LEN, 129, CHANGE_IPV6))
    } else {
        ends.write_ipv4(frame, network, class, packet.length, ICMP)
            .and_then(|()| turn(frame, network + Ipv4Hdr::LEN, 0, CHANGE))
    };
    // The request was read from where this is written.
    match written.and_then(|()| forward::rewrite_link(frame, ends.link())) {
        Some(()) => Verdict::EchoAnswered,
        None => Verdict::NoHeadroom,
    }
}

/// Makes a request a reply. A wrong checksum stays wrong: the sender learns what reached us.
#[inline(always)]
fn turn<F: Frame>(frame: &mut F, offset: usize, kind: u8, change: u32) -> Option<()> {
    let message = frame.header_mut::<[u8; 4]>(offset)?;
    let [first, _, high, low] = message;
    let sum = u32::from(u16::from_be_bytes([*high, *low])) + change;
    *first = kind;
    [*high, *low] = checksum::fold(sum).to_be_bytes();
    Some(())
}
