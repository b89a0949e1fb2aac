//! Ways to get a packet to its backend.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{
    address,
    backend::Backend,
    checksum,
    frame::{Ethernet, Frame, Header},
    packet::Packet,
};

/// IP protocol number of an IPv4 packet in a tunnel, RFC 2003.
pub const IP_IN_IP: u8 = 4;
/// IP protocol number of an IPv6 packet in a tunnel, RFC 2473.
pub const IPV6_IN_IP: u8 = 41;
/// Hop limit of tunnel headers: the default that RFC 1700 assigns.
pub const OUTER_HOP_LIMIT: u8 = 64;

/// How packets reach a backend.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// New hardware addresses; the packet stays as it is. Backends hold the service's address.
    L2 = 1,
    /// An outer IP header, RFC 2003 and RFC 2473, in all four combinations of families.
    Ipip = 2,
}

impl Forward {
    /// The reverse of `as u8`.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::L2),
            2 => Some(Self::Ipip),
            _ => None,
        }
    }

    /// Bytes that this way adds to a packet.
    #[inline(always)]
    #[must_use]
    pub const fn overhead(self, outer_ipv6: bool) -> u32 {
        match (self, outer_ipv6) {
            (Self::L2, _) => 0,
            (Self::Ipip, false) => Ipv4Hdr::LEN as u32,
            (Self::Ipip, true) => Ipv6Hdr::LEN as u32,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct OverIpv4 {
    ethernet: Ethernet,
    ip: Ipv4Hdr,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct OverIpv6 {
    ethernet: Ethernet,
    ip: Ipv6Hdr,
}

// SAFETY: headers one after the other, each of alignment 1 and valid for every bit pattern.
unsafe impl Header for OverIpv4 {}
// SAFETY: as for `OverIpv4`.
unsafe impl Header for OverIpv6 {}

/// Addresses the frame to the backend's next hop.
#[inline(always)]
#[must_use]
pub fn rewrite_link<F: Frame>(frame: &mut F, backend: &Backend) -> bool {
    let Some(ethernet) = frame.header_mut::<Ethernet>(0) else {
        return false;
    };
    ethernet.link = backend.link();
    true
}

/// Puts an outer header before the packet; false if the frame has no room for it.
#[inline(always)]
#[must_use]
pub fn encapsulate<F: Frame>(frame: &mut F, packet: &Packet, flow: u64, backend: &Backend) -> bool {
    if backend.is_ipv6() {
        over_ipv6(frame, packet, flow, backend)
    } else {
        over_ipv4(frame, packet, backend)
    }
}

#[inline(always)]
fn over_ipv4<F: Frame>(frame: &mut F, packet: &Packet, backend: &Backend) -> bool {
    if !frame.grow(Ipv4Hdr::LEN) {
        return false;
    }
    let Some(outer) = frame.header_mut::<OverIpv4>(0) else {
        return false;
    };
    // The sum stays below 2^16: the MTU check let at most 65,535 bytes through.
    let length = packet.length as u16 + Ipv4Hdr::LEN as u16;
    let sum = backend.outer_checksum() as u32 + length as u32 + packet.traffic_class as u32;
    outer.ethernet = Ethernet::new(backend.link(), Ethernet::IPV4);
    outer.ip.vihl = 0x45;
    outer.ip.tos = packet.traffic_class;
    outer.ip.tot_len = length.to_be_bytes();
    // RFC 6864: an atomic datagram (don't-fragment set) needs no identification.
    outer.ip.id = [0; 2];
    outer.ip.frags = [0x40, 0];
    outer.ip.ttl = OUTER_HOP_LIMIT;
    outer.ip.proto = inner_protocol(packet);
    // `outer_checksum` counts protocol 4; the other family's number is 37 more.
    let sum = if packet.ipv6 { sum + (IPV6_IN_IP - IP_IN_IP) as u32 } else { sum };
    outer.ip.check = (!checksum::fold(sum)).to_be_bytes();
    outer.ip.src_addr = backend.source()[0].to_ne_bytes();
    outer.ip.dst_addr = backend.destination()[0].to_ne_bytes();
    true
}

#[inline(always)]
fn over_ipv6<F: Frame>(frame: &mut F, packet: &Packet, flow: u64, backend: &Backend) -> bool {
    if !frame.grow(Ipv6Hdr::LEN) {
        return false;
    }
    let Some(outer) = frame.header_mut::<OverIpv6>(0) else {
        return false;
    };
    outer.ethernet = Ethernet::new(backend.link(), Ethernet::IPV6);
    // RFC 6438: the flow label carries the flow's entropy, so that routers and receive queues
    // spread tunnelled flows.
    let label = (flow >> 20) as u32 & 0xf_ffff;
    outer.ip.vcf = (6 << 28 | (packet.traffic_class as u32) << 20 | label).to_be_bytes();
    outer.ip.payload_len = (packet.length as u16).to_be_bytes();
    outer.ip.next_hdr = inner_protocol(packet);
    outer.ip.hop_limit = OUTER_HOP_LIMIT;
    outer.ip.src_addr = address::octets(*backend.source());
    outer.ip.dst_addr = address::octets(*backend.destination());
    true
}

#[inline(always)]
const fn inner_protocol(packet: &Packet) -> u8 {
    if packet.ipv6 { IPV6_IN_IP } else { IP_IN_IP }
}

#[cfg(test)]
mod tests;
