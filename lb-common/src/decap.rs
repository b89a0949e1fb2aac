//! The tunnel's far end: opens IP-in-IP packets of permitted load balancers on a backend.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{
    address::{self, Address},
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

/// What the far end knows: who may send tunnels, and which addresses this machine has.
pub trait Gate {
    /// Whether a load balancer with this address may send tunnels here.
    fn permits(&self, source: &Address) -> bool;
    /// Whether this machine has the address.
    fn has(&self, address: &Address) -> bool;
}

/// Opens one frame. A frame whose verdict is to pass is untouched, except for
/// [`DecapVerdict::Opened`]: that one has lost its outer header.
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
    let source = Address::from_words([u32::from_ne_bytes(ip.src_addr), 0, 0, 0], false);
    let length = usize::from(u16::from_be_bytes(ip.tot_len));
    finish(frame, gate, source, inner, Ipv4Hdr::LEN, length)
}

#[inline(always)]
fn open_ipv6<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> Result<DecapVerdict, DecapVerdict> {
    let ip = frame.header::<Ipv6Hdr>(Ethernet::LEN).ok_or(DecapVerdict::NotTunnel)?;
    if ip.vcf[0] >> 4 != 6 {
        return Err(DecapVerdict::NotTunnel);
    }
    let inner = Inner::from_protocol(ip.next_hdr)?;
    let source = Address::from_words(address::words(ip.src_addr), true);
    let length = usize::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN;
    finish(frame, gate, source, inner, Ipv6Hdr::LEN, length)
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

    /// Destination and length of the packet that starts at `offset`.
    #[inline(always)]
    fn read<F: Frame>(self, frame: &F, offset: usize) -> Option<(Address, usize)> {
        match self {
            Self::Ipv4 => {
                let ip = frame.header::<Ipv4Hdr>(offset)?;
                let length = usize::from(u16::from_be_bytes(ip.tot_len));
                let is_sound = ip.vihl >> 4 == 4 && ip.vihl & 0x0f >= 5 && length >= Ipv4Hdr::LEN;
                let words = [u32::from_ne_bytes(ip.dst_addr), 0, 0, 0];
                is_sound.then_some((Address::from_words(words, false), length))
            }
            Self::Ipv6 => {
                let ip = frame.header::<Ipv6Hdr>(offset)?;
                let length = usize::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN;
                let address = Address::from_words(address::words(ip.dst_addr), true);
                (ip.vcf[0] >> 4 == 6).then_some((address, length))
            }
        }
    }
}

/// The checks and the cut that both outer families share. `outer` is the outer header's length,
/// `length` that of the whole outer packet.
#[inline(always)]
fn finish<F: Frame, G: Gate>(
    frame: &mut F,
    gate: &G,
    source: Address,
    inner: Inner,
    outer: usize,
    length: usize,
) -> Result<DecapVerdict, DecapVerdict> {
    if !gate.permits(&source) {
        return Err(DecapVerdict::ForeignSource);
    }
    let (destination, inner_length) =
        inner.read(frame, Ethernet::LEN + outer).ok_or(DecapVerdict::Malformed)?;
    if outer + inner_length > length || !frame.holds(Ethernet::LEN + length) {
        return Err(DecapVerdict::Malformed);
    }
    if !gate.has(&destination) {
        return Err(DecapVerdict::NotLocal);
    }
    let link = frame.header::<Ethernet>(0).ok_or(DecapVerdict::Malformed)?.link;
    if !frame.shrink(outer) {
        return Err(DecapVerdict::NotMoved);
    }
    let ethernet = frame.header_mut::<Ethernet>(0).ok_or(DecapVerdict::NotMoved)?;
    *ethernet = Ethernet::new(link, inner.ether_type());
    Ok(DecapVerdict::Opened)
}

#[cfg(test)]
mod tests;
