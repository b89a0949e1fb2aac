//! The tunnel's far end: opens IP-in-IP packets of permitted load balancers on a backend.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{
    address::{self, Address},
    checksum,
    forward::{IP_IN_IP, IPV6_IN_IP},
    frame::{Ethernet, Frame},
    verdict::DecapVerdict,
};

/// Most prefixes of load balancers that a far end takes.
pub const MAX_SOURCES: usize = 1024;
/// Most addresses of its own that a far end keeps.
pub const MAX_ADDRESSES: usize = 4096;

/// The prefix of a load balancer as a key of `DECAP_SOURCES`: IP version, then address.
///
/// The address is in words of 64 bits so that the compiler writes it in the units in which it lies
/// aligned behind the map's own 32-bit prefix length; the verifier refuses others on the stack.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix {
    version: u32,
    address: [u64; 2],
}

impl SourcePrefix {
    /// Length of a whole key in bits.
    pub const BITS: u32 = 160;
    /// Bits before those of the address.
    pub const VERSION_BITS: u32 = 32;

    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        let [a, b, c, d] = address.words();
        Self { version: if address.is_ipv6() { 6 } else { 4 }, address: [join(a, b), join(c, d)] }
    }
}

/// Two words as they lie in memory, as one.
#[inline(always)]
const fn join(first: u32, second: u32) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// An address as a key of `DECAP_ADDRESSES`: the IPv4 ones under their mapped prefix, RFC 4291
/// section 2.5.5.2.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress([u32; 4]);

impl LocalAddress {
    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        let words = address.words();
        if address.is_ipv6() {
            Self(words)
        } else {
            Self([0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), words[0]])
        }
    }
}

/// What is known of an address in `DECAP_ADDRESSES`, as bits of its value.
pub mod known {
    /// This machine has it: tunnels may end there.
    pub const OWN: u32 = 1;
    /// Tunnelled packets may be aimed at it.
    pub const TARGET: u32 = 2;
}

/// What the far end knows: who may send tunnels, which addresses this machine has, and which of
/// them clients may reach.
pub trait Gate {
    /// Whether a load balancer with this address may send tunnels here.
    fn permits(&self, source: &Address) -> bool;
    /// Whether this machine has the address.
    fn has(&self, address: &Address) -> bool;
    /// Whether a tunnelled packet may be aimed at the address.
    fn admits(&self, destination: &Address) -> bool;
}

/// Opens one frame. A frame whose verdict is to pass is untouched, except for
/// [`DecapVerdict::Opened`]: that one has lost its outer header, and has its congestion mark.
///
/// Fragments, IPv4 options and IPv6 extension headers of the outer packet are not opened; the
/// balancer sends none.
#[inline(always)]
pub fn open<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> DecapVerdict {
    let Some(ethernet) = frame.header::<Ethernet>(0) else {
        return DecapVerdict::NotTunnel;
    };
    let result = match ethernet.ether_type() {
        Ethernet::IPV4 => open_ipv4(frame, gate),
        Ethernet::IPV6 => open_ipv6(frame, gate),
        _ => return DecapVerdict::NotTunnel,
    };
    result.unwrap_or_else(|verdict| verdict)
}

#[inline(always)]
fn open_ipv4<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> Result<DecapVerdict, DecapVerdict> {
    let ip = frame.header::<Ipv4Hdr>(Ethernet::LEN).ok_or(DecapVerdict::NotTunnel)?;
    let is_fragment = ip.frags[0] & 0x3f != 0 || ip.frags[1] != 0;
    if ip.vihl != 0x45 || is_fragment {
        return Err(DecapVerdict::NotTunnel);
    }
    let inner = Inner::from_protocol(ip.proto)?;
    let address = |octets| Address::from_words([u32::from_ne_bytes(octets), 0, 0, 0], false);
    let outer = Outer {
        source: address(ip.src_addr),
        destination: address(ip.dst_addr),
        header: Ipv4Hdr::LEN,
        length: usize::from(u16::from_be_bytes(ip.tot_len)),
        ecn: ip.tos & ECN,
    };
    finish(frame, gate, &outer, inner)
}

#[inline(always)]
fn open_ipv6<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> Result<DecapVerdict, DecapVerdict> {
    let ip = frame.header::<Ipv6Hdr>(Ethernet::LEN).ok_or(DecapVerdict::NotTunnel)?;
    if ip.vcf[0] >> 4 != 6 {
        return Err(DecapVerdict::NotTunnel);
    }
    let inner = Inner::from_protocol(ip.next_hdr)?;
    let outer = Outer {
        source: Address::from_words(address::words(ip.src_addr), true),
        destination: Address::from_words(address::words(ip.dst_addr), true),
        header: Ipv6Hdr::LEN,
        length: usize::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN,
        ecn: ip.vcf[1] >> 4 & ECN,
    };
    finish(frame, gate, &outer, inner)
}

/// What the outer header says.
struct Outer {
    source: Address,
    destination: Address,
    /// Bytes of the header.
    header: usize,
    /// Bytes of the whole outer packet.
    length: usize,
    /// What the way said of congestion.
    ecn: u8,
}

#[derive(Clone, Copy)]
enum Inner {
    Ipv4,
    Ipv6,
}

impl Inner {
    #[inline(always)]
    const fn from_protocol(protocol: u8) -> Result<Self, DecapVerdict> {
        match protocol {
            IP_IN_IP => Ok(Self::Ipv4),
            IPV6_IN_IP => Ok(Self::Ipv6),
            _ => Err(DecapVerdict::NotTunnel),
        }
    }

    const fn ether_type(self) -> u16 {
        match self {
            Self::Ipv4 => Ethernet::IPV4,
            Self::Ipv6 => Ethernet::IPV6,
        }
    }

    /// What the header at `offset` says of the packet.
    #[inline(always)]
    fn read<F: Frame>(self, frame: &F, offset: usize) -> Option<InnerPacket> {
        match self {
            Self::Ipv4 => {
                let ip = frame.header::<Ipv4Hdr>(offset)?;
                let length = usize::from(u16::from_be_bytes(ip.tot_len));
                let is_sound = ip.vihl >> 4 == 4 && ip.vihl & 0x0f >= 5 && length >= Ipv4Hdr::LEN;
                let words = [u32::from_ne_bytes(ip.dst_addr), 0, 0, 0];
                let destination = Address::from_words(words, false);
                is_sound.then_some(InnerPacket { destination, length, ecn: ip.tos & ECN })
            }
            Self::Ipv6 => {
                let ip = frame.header::<Ipv6Hdr>(offset)?;
                let length = usize::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN;
                let destination = Address::from_words(address::words(ip.dst_addr), true);
                let ecn = ip.vcf[1] >> 4 & ECN;
                (ip.vcf[0] >> 4 == 6).then_some(InnerPacket { destination, length, ecn })
            }
        }
    }

    /// Writes the ECN field of the header at `offset`.
    #[inline(always)]
    fn set_ecn<F: Frame>(self, frame: &mut F, offset: usize, ecn: u8) -> Option<()> {
        match self {
            Self::Ipv4 => {
                let ip = frame.header_mut::<Ipv4Hdr>(offset)?;
                let tos = ip.tos & !ECN | ecn;
                // RFC 1624 section 3, equation 3, of the word whose lower byte this is.
                let sum = u32::from(!u16::from_be_bytes(ip.check))
                    + u32::from(!u16::from(ip.tos))
                    + u32::from(tos);
                ip.check = (!checksum::fold(sum)).to_be_bytes();
                ip.tos = tos;
            }
            Self::Ipv6 => {
                let ip = frame.header_mut::<Ipv6Hdr>(offset)?;
                ip.vcf[1] = ip.vcf[1] & !(ECN << 4) | ecn << 4;
            }
        }
        Some(())
    }
}

/// What the inner header says.
struct InnerPacket {
    destination: Address,
    length: usize,
    ecn: u8,
}

/// The ECN field in a traffic class, RFC 3168 section 5.
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The ECN field of what comes out of the tunnel, RFC 6040 section 4.2. `None` is a packet to be
/// dropped: congestion was met, and its sender would not understand the mark.
#[inline(always)]
const fn merge_ecn(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}

/// The checks and the cut that both outer families share.
#[inline(always)]
fn finish<F: Frame, G: Gate>(
    frame: &mut F,
    gate: &G,
    outer: &Outer,
    inner: Inner,
) -> Result<DecapVerdict, DecapVerdict> {
    if !gate.permits(&outer.source) {
        return Err(DecapVerdict::ForeignSource);
    }
    if !gate.has(&outer.destination) {
        return Err(DecapVerdict::ForeignDestination);
    }
    let packet = inner.read(frame, Ethernet::LEN + outer.header).ok_or(DecapVerdict::Malformed)?;
    if outer.header + packet.length > outer.length || !frame.holds(Ethernet::LEN + outer.length) {
        return Err(DecapVerdict::Malformed);
    }
    if !gate.admits(&packet.destination) {
        return Err(DecapVerdict::NotLocal);
    }
    let ecn = merge_ecn(packet.ecn, outer.ecn).ok_or(DecapVerdict::CongestionNotEcn)?;
    let link = frame.header::<Ethernet>(0).ok_or(DecapVerdict::Malformed)?.link;
    if !frame.shrink(outer.header) {
        return Err(DecapVerdict::NotMoved);
    }
    let ethernet = frame.header_mut::<Ethernet>(0).ok_or(DecapVerdict::NotMoved)?;
    *ethernet = Ethernet::new(link, inner.ether_type());
    if ecn != packet.ecn {
        inner.set_ecn(frame, Ethernet::LEN, ecn).ok_or(DecapVerdict::NotMoved)?;
    }
    Ok(DecapVerdict::Opened)
}

#[cfg(test)]
mod tests;
