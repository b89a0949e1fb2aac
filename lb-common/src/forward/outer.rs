//! The outer IP header of tunnels.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::OUTER_HOP_LIMIT;
use crate::{address, backend::Backend, checksum, frame::Frame, send::Outgoing};

/// The last 16 bits of the outer source address that the flow sets, RFC 7690 style entropy where
/// receivers look at addresses only.
#[inline(always)]
pub(super) const fn spread(outgoing: &Outgoing<'_>, backend: &Backend) -> u16 {
    (outgoing.flow >> 44) as u16 & backend.spread_mask()
}

/// An IPv4 header before `payload` bytes of `protocol`. `excess` is what the protocol's number is
/// above the one that [`Backend::outer_checksum`] counts.
#[inline(always)]
pub(super) fn ipv4<F: Frame>(
    frame: &mut F,
    offset: usize,
    outgoing: &Outgoing<'_>,
    backend: &Backend,
    payload: u16,
    (protocol, excess): (u8, u8),
) -> Option<()> {
    let class = outgoing.packet.traffic_class;
    let spread = spread(outgoing, backend);
    // The sum stays below 2^16: the MTU check let at most 65,535 bytes through.
    let length = payload + Ipv4Hdr::LEN as u16;
    let sum = u32::from(backend.outer_checksum())
        + u32::from(length)
        + u32::from(class)
        + u32::from(excess)
        + u32::from(spread);
    let ip = frame.header_mut::<Ipv4Hdr>(offset)?;
    ip.vihl = 0x45;
    ip.tos = class;
    ip.tot_len = length.to_be_bytes();
    // RFC 6864: an atomic datagram (don't-fragment set) needs no identification.
    ip.id = [0; 2];
    ip.frags = [0x40, 0];
    ip.ttl = OUTER_HOP_LIMIT;
    ip.proto = protocol;
    ip.check = (!checksum::fold(sum)).to_be_bytes();
    ip.src_addr = last_bits(backend.source()[0], spread).to_ne_bytes();
    ip.dst_addr = backend.destination()[0].to_ne_bytes();
    Some(())
}

/// An IPv6 header before `payload` bytes of `protocol`.
#[inline(always)]
pub(super) fn ipv6<F: Frame>(
    frame: &mut F,
    offset: usize,
    outgoing: &Outgoing<'_>,
    backend: &Backend,
    payload: u16,
    protocol: u8,
) -> Option<()> {
    // RFC 6438: the flow label carries the flow's entropy, so that routers and receive queues
    // spread tunnelled flows.
    let label = (outgoing.flow >> 20) as u32 & 0xf_ffff;
    let class = u32::from(outgoing.packet.traffic_class);
    let [a, b, c, d] = *backend.source();
    let source = [a, b, c, last_bits(d, spread(outgoing, backend))];
    let ip = frame.header_mut::<Ipv6Hdr>(offset)?;
    ip.vcf = (6 << 28 | class << 20 | label).to_be_bytes();
    ip.payload_len = payload.to_be_bytes();
    ip.next_hdr = protocol;
    ip.hop_limit = OUTER_HOP_LIMIT;
    ip.src_addr = address::octets(source);
    ip.dst_addr = address::octets(*backend.destination());
    Some(())
}

/// A word of an address with the bits of `spread` set among its last 16.
#[inline(always)]
const fn last_bits(word: u32, spread: u16) -> u32 {
    word | (spread as u32).to_be()
}
