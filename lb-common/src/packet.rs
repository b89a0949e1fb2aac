//! What the balancer must know of a packet, read from its headers.

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    address::{self, Address},
    frame::{Ethernet, Frame},
    hash::HashKey,
    service::{self, ServiceKey},
    verdict::Verdict,
};

/// Flag bits of TCP's fourteenth byte, RFC 9293 section 3.1.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = SYN | ACK;

const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
/// More-fragments bit and fragment offset of IPv4, RFC 791 section 3.1; not don't-fragment.
const FRAGMENT: [u8; 2] = [0x3f, 0xff];
/// Hop-by-hop, routing, fragment, authentication, destination, mobility, HIP and Shim6 headers.
const EXTENSION_HEADERS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// What a packet says about its flow's age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// TCP's SYN without ACK.
    Begins,
    /// Any other TCP segment.
    Continues,
    /// UDP does not say.
    Unknown,
}

/// A TCP or UDP packet in one piece.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// What the client addresses.
    pub key: ServiceKey,
    /// What its flow's age is.
    pub age: Age,
    /// Length of the IP packet in bytes as its header says.
    pub length: u32,
    /// DSCP and ECN as one byte.
    pub traffic_class: u8,
    /// Whether it is an IPv6 packet.
    pub ipv6: bool,
    /// The first 32 bits of the client's address, and its port.
    source: u64,
    /// The last 96 bits of the client's IPv6 address.
    source_rest: [u32; 3],
    /// Length of the IP header and of what the transport header claims for itself.
    claimed: u32,
}

impl Packet {
    /// What a client's packet to a service would look like, to ask where it would go.
    #[must_use]
    pub const fn of_flow(key: ServiceKey, client: Address, port: u16) -> Self {
        let [first, source_rest @ ..] = client.words();
        Self {
            key,
            age: Age::Continues,
            length: 0,
            traffic_class: 0,
            ipv6: client.is_ipv6(),
            source: source(first, port),
            source_rest,
            claimed: 0,
        }
    }

    /// Hash of the flow, from the hash of its destination.
    #[inline(always)]
    #[must_use]
    pub const fn flow(&self, key: &HashKey, destination: u64) -> u64 {
        let flow = key.flow(destination, self.source);
        if self.ipv6 { service::hash_rest(key, flow, self.source_rest) } else { flow }
    }

    /// Whether the lengths that the headers claim fit each other and the frame. A frame may be
    /// longer than its packet: Ethernet pads to 60 bytes.
    #[inline(always)]
    #[must_use]
    pub fn is_well_formed<F: Frame>(&self, frame: &F) -> bool {
        self.claimed <= self.length && frame.holds(Ethernet::LEN + self.length as usize)
    }
}

/// Reads an IPv4 packet that follows the Ethernet header.
#[inline(always)]
pub fn ipv4<F: Frame>(frame: &F) -> Result<Packet, Verdict> {
    let ip = frame.header::<Ipv4Hdr>(Ethernet::LEN).ok_or(Verdict::Truncated)?;
    if ip.frags[0] & FRAGMENT[0] != 0 || ip.frags[1] & FRAGMENT[1] != 0 {
        return Err(Verdict::Fragment);
    }
    // The common length is a constant, so that the offsets behind it are constants too.
    let header = if ip.vihl == IPV4_WITHOUT_OPTIONS {
        Ipv4Hdr::LEN
    } else if ip.vihl > IPV4_WITHOUT_OPTIONS && ip.vihl <= 0x4f {
        usize::from(ip.vihl & 0x0f) * 4
    } else {
        return Err(Verdict::NotIp);
    };
    let transport = transport(frame, Ethernet::LEN + header, ip.proto)?;
    let destination = u32::from_ne_bytes(ip.dst_addr);
    let first = u32::from_ne_bytes(ip.src_addr);
    Ok(Packet {
        key: ServiceKey::from_parts(
            ServiceKey::word(destination, transport.destination, ip.proto, false),
            [0; 3],
        ),
        age: transport.age,
        length: u32::from(u16::from_be_bytes(ip.tot_len)),
        traffic_class: ip.tos,
        ipv6: false,
        source: source(first, transport.source),
        source_rest: [0; 3],
        claimed: header as u32 + transport.claimed,
    })
}

/// Reads an IPv6 packet that follows the Ethernet header.
#[inline(always)]
pub fn ipv6<F: Frame>(frame: &F) -> Result<Packet, Verdict> {
    let ip = frame.header::<Ipv6Hdr>(Ethernet::LEN).ok_or(Verdict::Truncated)?;
    if ip.vcf[0] >> 4 != 6 {
        return Err(Verdict::NotIp);
    }
    let transport = transport(frame, Ethernet::LEN + Ipv6Hdr::LEN, ip.next_hdr)?;
    let [destination, destination_rest @ ..] = address::words(ip.dst_addr);
    let [first, source_rest @ ..] = address::words(ip.src_addr);
    Ok(Packet {
        key: ServiceKey::from_parts(
            ServiceKey::word(destination, transport.destination, ip.next_hdr, true),
            destination_rest,
        ),
        age: transport.age,
        length: u32::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN as u32,
        traffic_class: ip.vcf[0] << 4 | ip.vcf[1] >> 4,
        ipv6: true,
        source: source(first, transport.source),
        source_rest,
        claimed: Ipv6Hdr::LEN as u32 + transport.claimed,
    })
}

#[inline(always)]
const fn source(first: u32, port: u16) -> u64 {
    first as u64 | (port as u64) << 32
}

struct Transport {
    source: u16,
    destination: u16,
    age: Age,
    /// Bytes that the header claims: TCP its own length, UDP its own and its payload's. At least
    /// the shortest header's length, or more than any packet's length where it claims less.
    claimed: u32,
}

/// More than the length of any packet, so that no comparison with one succeeds.
const IMPOSSIBLE: u32 = 1 << 17;

#[inline(always)]
fn transport<F: Frame>(frame: &F, offset: usize, protocol: u8) -> Result<Transport, Verdict> {
    match protocol {
        service::TCP => tcp(frame, offset),
        service::UDP => udp(frame, offset),
        other if EXTENSION_HEADERS.contains(&other) => Err(Verdict::ExtensionHeader),
        _ => Err(Verdict::NotTransport),
    }
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, offset: usize) -> Result<Transport, Verdict> {
    const SHORTEST: u32 = 20;
    let tcp = frame.header::<[u8; SHORTEST as usize]>(offset).ok_or(Verdict::Truncated)?;
    let length = u32::from(tcp[12] >> 4) * 4;
    Ok(Transport {
        source: u16::from_be_bytes([tcp[0], tcp[1]]),
        destination: u16::from_be_bytes([tcp[2], tcp[3]]),
        age: if tcp[13] & SYN_ACK == SYN { Age::Begins } else { Age::Continues },
        claimed: if length < SHORTEST { IMPOSSIBLE } else { length },
    })
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, offset: usize) -> Result<Transport, Verdict> {
    let udp = frame.header::<UdpHdr>(offset).ok_or(Verdict::Truncated)?;
    let length = u32::from(u16::from_be_bytes(udp.len));
    Ok(Transport {
        source: u16::from_be_bytes(udp.src),
        destination: u16::from_be_bytes(udp.dst),
        age: Age::Unknown,
        claimed: if length < UdpHdr::LEN as u32 { IMPOSSIBLE } else { length },
    })
}

#[cfg(test)]
mod tests;
