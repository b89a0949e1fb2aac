//! Generic UDP encapsulation, draft-ietf-intarea-gue-09: variant 0, without flags.
//!
//! Routers and receivers spread UDP by its ports, and the source port is the flow's hash. Behind the
//! header stands the packet, or a [`mark`] and the packet.

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use super::{
    ipip::{grow, inner_protocol},
    mark, outer,
};
use crate::{
    backend::Backend,
    checksum,
    frame::{Ethernet, Frame},
    send::Outgoing,
    service::{ICMPV6, TCP, UDP},
};

/// The port that IANA assigned to GUE.
pub const PORT: u16 = 6080;
/// Bytes of the UDP and GUE headers.
pub(super) const HEADERS: usize = UdpHdr::LEN + GUE_LEN;

/// Bytes of the base header.
const GUE_LEN: usize = 4;

/// What is written alike over IPv4 and IPv6.
struct Datagram<'a> {
    outgoing: &'a Outgoing<'a>,
    backend: &'a Backend,
    /// The backend that the far end may give the packet on to.
    other: Option<&'a Backend>,
    /// Bytes of it, with UDP's header.
    length: u16,
}

/// Puts IP, UDP and GUE headers before the packet, and a mark that names `other`, which has the
/// backend's family. `None` if the frame has no room for them.
#[inline(always)]
pub(crate) fn encapsulate<F: Frame>(
    frame: &mut F,
    outgoing: &Outgoing<'_>,
    backend: &Backend,
    other: Option<&Backend>,
) -> Option<()> {
    let network = outgoing.tags.network();
    let headers = HEADERS + other.map_or(0, |other| mark::length(other.is_ipv6()));
    let length = (outgoing.packet.length as usize + headers) as u16;
    let datagram = Datagram { outgoing, backend, other, length };
    if backend.is_ipv6() {
        let sum = datagram.checksum_over_ipv6(frame);
        grow(frame, outgoing, Ipv6Hdr::LEN + headers)?;
        outgoing.tags.write(frame, backend.link(), Ethernet::IPV6)?;
        outer::ipv6(frame, network, outgoing, backend, length, UDP)?;
        return datagram.write(frame, network + Ipv6Hdr::LEN, sum);
    }
    grow(frame, outgoing, Ipv4Hdr::LEN + headers)?;
    outgoing.tags.write(frame, backend.link(), Ethernet::IPV4)?;
    outer::ipv4(frame, network, outgoing, backend, length, (UDP, 0))?;
    // RFC 768: zero is no checksum. The packet within has one of its own.
    datagram.write(frame, network + Ipv4Hdr::LEN, 0)
}

impl Datagram<'_> {
    /// The checksum, of a frame that has only the packet yet. Over IPv6 one is due (RFC 8200 section
    /// 8.1), unless what it covers is not known without reading all of the packet: then it is zero,
    /// as RFC 6935 allows tunnels.
    #[inline(always)]
    fn checksum_over_ipv6<F: Frame>(&self, frame: &F) -> u16 {
        let Self { outgoing, backend, other, length } = self;
        let Some(inner) = packet_sum(frame, outgoing.packet.layout.network(), outgoing) else {
            return 0;
        };
        let sum = u32::from(backend.outer_checksum())
            + u32::from(outer::spread(outgoing, backend))
            + u32::from(UDP)
            + 2 * u32::from(*length)
            + u32::from(source_port(outgoing))
            + u32::from(backend.port())
            + (self.base() >> 16)
            + other.map_or(0, mark::sum_over_ipv6)
            + inner;
        // RFC 768: a sum of zero is written as its other form.
        match !checksum::fold(sum) {
            0 => 0xffff,
            sum => sum,
        }
    }

    /// Writes UDP's header at `offset`, and GUE's behind it.
    #[inline(always)]
    fn write<F: Frame>(&self, frame: &mut F, offset: usize, sum: u16) -> Option<()> {
        let udp = frame.header_mut::<UdpHdr>(offset)?;
        udp.src = source_port(self.outgoing).to_be_bytes();
        udp.dst = self.backend.port().to_be_bytes();
        udp.len = self.length.to_be_bytes();
        udp.check = sum.to_be_bytes();
        let base = frame.header_mut::<[u8; GUE_LEN]>(offset + UdpHdr::LEN)?;
        *base = self.base().to_be_bytes();
        match self.other {
            Some(other) => mark::write(frame, offset + HEADERS, other),
            None => Some(()),
        }
    }

    /// Version, no control message and words of the mark; protocol; no flags.
    #[inline(always)]
    fn base(&self) -> u32 {
        let words = self.other.map_or(0, |other| mark::words(other.is_ipv6()));
        words << 24 | u32::from(inner_protocol(self.outgoing.packet)) << 16
    }
}

/// One of the dynamic ports, as section 5.6.1 of the draft asks.
#[inline(always)]
const fn source_port(outgoing: &Outgoing<'_>) -> u16 {
    (outgoing.flow >> 20) as u16 | 0xc000
}

/// The sum of the packet at `offset`, whose own checksums tell most of it: a segment's adds up to
/// the complement of its pseudo-header, and an IPv4 header's to nothing. `None` if the packet has
/// none, or is a fragment. A packet with a wrong checksum gets a wrong one outside, too.
#[inline(always)]
fn packet_sum<F: Frame>(frame: &F, offset: usize, outgoing: &Outgoing<'_>) -> Option<u32> {
    if outgoing.packet.ipv6 {
        packet_sum_ipv6(frame, offset)
    } else {
        packet_sum_ipv4(frame, offset)
    }
}

#[inline(always)]
fn packet_sum_ipv6<F: Frame>(frame: &F, offset: usize) -> Option<u32> {
    let ip = frame.header::<Ipv6Hdr>(offset)?;
    let protocol = ip.next_hdr;
    let length = u16::from_be_bytes(ip.payload_len);
    if protocol != ICMPV6 && !has_checksum(frame, offset + Ipv6Hdr::LEN, protocol, length) {
        return None;
    }
    // The addresses and the length are in the header and, the other way round, in the segment.
    let [a, b, c, d] = ip.vcf;
    let first = u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]));
    let limits = u32::from(u16::from_be_bytes([protocol, ip.hop_limit]));
    Some(first + limits + u32::from(!u16::from(protocol)))
}

#[inline(always)]
fn packet_sum_ipv4<F: Frame>(frame: &F, offset: usize) -> Option<u32> {
    const WITHOUT_OPTIONS: u8 = 0x45;

    let ip = frame.header::<Ipv4Hdr>(offset)?;
    let is_fragment = ip.frags[0] & 0x3f != 0 || ip.frags[1] != 0;
    if ip.vihl != WITHOUT_OPTIONS || is_fragment {
        return None;
    }
    let protocol = ip.proto;
    let length = u16::from_be_bytes(ip.tot_len).wrapping_sub(Ipv4Hdr::LEN as u16);
    if !has_checksum(frame, offset + Ipv4Hdr::LEN, protocol, length) {
        return None;
    }
    let [a, b, c, d] = ip.src_addr;
    let [e, f, g, h] = ip.dst_addr;
    let pseudo = u32::from(u16::from_be_bytes([a, b]))
        + u32::from(u16::from_be_bytes([c, d]))
        + u32::from(u16::from_be_bytes([e, f]))
        + u32::from(u16::from_be_bytes([g, h]))
        + u32::from(protocol)
        + u32::from(length);
    Some(u32::from(!checksum::fold(pseudo)))
}

/// Whether the segment at `offset` has a checksum over all its `length` bytes.
#[inline(always)]
fn has_checksum<F: Frame>(frame: &F, offset: usize, protocol: u8, length: u16) -> bool {
    match protocol {
        TCP => true,
        UDP => frame
            .header::<UdpHdr>(offset)
            .is_some_and(|udp| udp.check != [0; 2] && u16::from_be_bytes(udp.len) == length),
        _ => false,
    }
}
