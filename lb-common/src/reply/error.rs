//! ICMP errors about a packet, which quote its start.
//!
//! Quotes have one of a few lengths: the verifier would follow a sum over any number of bytes
//! through all of them.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Ends, Occasion, SHORTEST_FRAME};
use crate::{
    checksum,
    frame::{Ethernet, Frame},
    service::{ICMP, ICMPV6},
    tables::Tables,
    uncommon::Work,
    verdict::Verdict,
};

/// Length of ICMP's header.
const ICMP_LEN: usize = 8;
/// What must be quoted behind IP header, options and extension headers: RFC 792.
const LEAST: usize = 8;
/// Length of a quote, and of those of packets that are shorter.
const QUOTE: usize = 128;
const SHORT_QUOTE: usize = Ipv4Hdr::LEN + LEAST;
const SHORT_QUOTE_IPV6: usize = Ipv6Hdr::LEN + LEAST;

/// The least MTU that there is, of IPv4 (RFC 791 section 3.2) and IPv6 (RFC 8200 section 5).
const LEAST_MTU: u16 = 68;
const LEAST_MTU_IPV6: u16 = 1280;

/// What an error says beside its quote.
#[derive(Clone, Copy)]
pub(super) struct Message {
    /// Type and code.
    kind: u16,
    /// The four bytes behind the checksum.
    rest: u32,
}

impl Message {
    /// Fragmentation needed (RFC 1191 section 4) or packet too big (RFC 4443 section 3.2).
    ///
    /// `None` if that is not to be said: the packet may be fragmented, or its sender can do nothing
    /// about it, since no MTU is smaller than the least (RFC 8201 section 4).
    #[inline(always)]
    pub(super) fn too_big<F: Frame>(work: &Work, frame: &F) -> Option<Self> {
        const DONT_FRAGMENT: u8 = 0x40;

        let (packet, mtu) = (&work.seen.packet, work.reply.mtu);
        if packet.ipv6 {
            let mtu = if mtu < LEAST_MTU_IPV6 { LEAST_MTU_IPV6 } else { mtu };
            let may_help = packet.length > u32::from(mtu);
            return may_help.then_some(Self { kind: 0x0200, rest: mtu.into() });
        }
        let ip = frame.header::<Ipv4Hdr>(packet.layout.network())?;
        let may_help = ip.frags[0] & DONT_FRAGMENT != 0 && mtu >= LEAST_MTU;
        may_help.then_some(Self { kind: 0x0304, rest: mtu.into() })
    }

    /// Time exceeded in transit.
    #[inline(always)]
    pub(super) const fn hop_limit(ipv6: bool) -> Self {
        Self { kind: if ipv6 { 0x0300 } else { 0x0b00 }, rest: 0 }
    }

    /// Destination unreachable: no such port.
    #[inline(always)]
    pub(super) const fn port_unreachable(ipv6: bool) -> Self {
        Self { kind: if ipv6 { 0x0104 } else { 0x0303 }, rest: 0 }
    }
}

/// Sends an error, or says by a verdict why not.
#[inline(always)]
pub(super) fn answer<F: Frame, T: Tables>(
    occasion: &Occasion<'_, T>,
    frame: &mut F,
    message: Message,
    untold: Verdict,
    told: Verdict,
) -> Verdict {
    let Some(ends) = occasion.ends(frame) else { return untold };
    let Some(quote) = quote(occasion.work, frame) else { return untold };
    if !occasion.is_within_budget() {
        return Verdict::ReplyLimited;
    }
    let written = write(occasion.work, frame, &ends, message, &quote);
    if written.is_some() { told } else { Verdict::NoHeadroom }
}

/// The start of a packet, as an error quotes it.
struct Quote {
    length: usize,
    sum: u32,
}

/// The quote of a packet. `None` if it would end before the ports: a short packet with options or
/// extension headers.
#[inline(always)]
fn quote<F: Frame>(work: &Work, frame: &F) -> Option<Quote> {
    let packet = &work.seen.packet;
    let start = packet.layout.network();
    let quote = if packet.length >= QUOTE as u32 {
        sum::<QUOTE, F>(frame, start)
    } else if packet.ipv6 {
        sum::<SHORT_QUOTE_IPV6, F>(frame, start)
    } else {
        sum::<SHORT_QUOTE, F>(frame, start)
    };
    quote.filter(|quote| packet.layout.header() as usize + LEAST <= quote.length)
}

#[inline(always)]
fn sum<const N: usize, F: Frame>(frame: &F, offset: usize) -> Option<Quote> {
    let (words, _) = frame.header::<[u8; N]>(offset)?.as_chunks::<2>();
    let sum = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    Some(Quote { length: N, sum })
}

/// Puts an error's headers before the packet and cuts it off behind the quote. `None`, and an
/// unchanged frame, if that has no room for them.
#[inline(always)]
fn write<F: Frame>(
    work: &Work,
    frame: &mut F,
    ends: &Ends,
    message: Message,
    quote: &Quote,
) -> Option<()> {
    let network = work.seen.tags.network();
    let payload = ICMP_LEN + quote.length;
    let end = if work.seen.packet.ipv6 {
        frame.grow(Ipv6Hdr::LEN + ICMP_LEN).then_some(())?;
        work.seen.tags.write(frame, ends.link(), Ethernet::IPV6)?;
        ends.write_ipv6(frame, network, 0, payload as u32, ICMPV6)?;
        let pseudo_header = ends.sum() + payload as u32 + u32::from(ICMPV6);
        write_header(frame, network + Ipv6Hdr::LEN, message, quote.sum + pseudo_header)?;
        network + Ipv6Hdr::LEN + payload
    } else {
        frame.grow(Ipv4Hdr::LEN + ICMP_LEN).then_some(())?;
        work.seen.tags.write(frame, ends.link(), Ethernet::IPV4)?;
        ends.write_ipv4(frame, network, 0, (Ipv4Hdr::LEN + payload) as u32, ICMP)?;
        write_header(frame, network + Ipv4Hdr::LEN, message, quote.sum)?;
        network + Ipv4Hdr::LEN + payload
    };
    cut(frame, end);
    Some(())
}

#[inline(always)]
fn write_header<F: Frame>(
    frame: &mut F,
    offset: usize,
    message: Message,
    covered: u32,
) -> Option<()> {
    let Message { kind, rest } = message;
    let sum = covered + u32::from(kind) + (rest >> 16) + (rest & 0xffff);
    let first = u32::from(kind) << 16 | u32::from(!checksum::fold(sum));
    *frame.header_mut::<[u8; 4]>(offset)? = first.to_be_bytes();
    *frame.header_mut::<[u8; 4]>(offset + 4)? = rest.to_be_bytes();
    Some(())
}

/// Cuts the frame off behind its packet, but not below what Ethernet wants. A driver that cannot
/// leaves more behind the packet than need be, all of it the sender's own.
#[inline(always)]
pub(super) fn cut<F: Frame>(frame: &mut F, end: usize) {
    let length = if end < SHORTEST_FRAME { SHORTEST_FRAME } else { end };
    let _ = frame.truncate(length);
}
