//! What the balancer must know of a packet, read from its headers.
//!
//! Most packets are TCP or UDP in one piece, untagged, without options: [`ipv4`] and [`ipv6`] read
//! those at fixed offsets. [`outline::read`] and [`seen::read`] read all others too.

pub(crate) mod extension;
pub(crate) mod options;
pub mod outline;
mod quote;
pub mod seen;

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use crate::{
    address::{self, Address},
    frame::{Ethernet, Frame},
    hash::HashKey,
    service::{self, ServiceKey},
};

pub use outline::Outline;
pub(crate) use quote::is_unreachable;
pub use seen::{Kind, Seen};

/// Flag bits of TCP's fourteenth byte, RFC 9293 section 3.1.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;
const SYN_ACK: u8 = SYN | ACK;

/// Shortest TCP header in bytes.
const TCP_LEN: usize = 20;

const IPV4_WITHOUT_OPTIONS: u8 = 0x45;
/// More-fragments bit and fragment offset of IPv4, RFC 791 section 3.1; not don't-fragment.
const FRAGMENT: [u8; 2] = [0x3f, 0xff];

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

/// Where the headers of a packet are, in bytes from the start of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    network: u16,
    transport: u16,
}

impl Layout {
    /// No header starts further into a frame: tags, two IP headers with all that may precede their
    /// transport, and one of ICMP come to less. The mask shows the verifier that offsets are small.
    const MASK: u16 = 0x3ff;

    /// Headers at these offsets, which are below 1,024.
    #[inline(always)]
    #[must_use]
    pub const fn new(network: usize, transport: usize) -> Self {
        Self { network: network as u16, transport: transport as u16 }
    }

    /// The IP header.
    #[inline(always)]
    #[must_use]
    pub const fn network(self) -> usize {
        (self.network & Self::MASK) as usize
    }

    /// The transport header; of a later fragment, where it would be.
    #[inline(always)]
    #[must_use]
    pub const fn transport(self) -> usize {
        (self.transport & Self::MASK) as usize
    }

    /// Bytes of the IP header, with options and extension headers.
    #[inline(always)]
    #[must_use]
    pub const fn header(self) -> u32 {
        self.transport.wrapping_sub(self.network) as u32
    }
}

/// A packet for a service, or what may be one.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// What the client addresses.
    pub key: ServiceKey,
    /// What its flow's age is.
    pub age: Age,
    /// TCP's flags, RFC 9293 section 3.1; 0 where there are none, or they are not known.
    pub flags: u8,
    /// Length of the IP packet in bytes as its header says.
    pub length: u32,
    /// DSCP and ECN as one byte.
    pub traffic_class: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Whether it is an IPv6 packet.
    pub ipv6: bool,
    /// Where its headers are.
    pub layout: Layout,
    /// The first 32 bits of the client's address, and its port.
    source: u64,
    /// The last 96 bits of the client's IPv6 address.
    source_rest: [u32; 3],
    /// Length of the IP header and of what the transport header claims for itself.
    claimed: u32,
}

impl Packet {
    /// No packet.
    pub(crate) const NONE: Self =
        Self::of_flow(ServiceKey::from_parts(0, [0; 3]), Address::from_words([0; 4], false), 0);

    /// What a client's packet to a service would look like, to ask where it would go.
    #[must_use]
    pub const fn of_flow(key: ServiceKey, client: Address, port: u16) -> Self {
        let [first, source_rest @ ..] = client.words();
        Self {
            key,
            age: if key.protocol() == service::UDP { Age::Unknown } else { Age::Continues },
            flags: 0,
            length: 0,
            traffic_class: 0,
            hop_limit: 64,
            ipv6: client.is_ipv6(),
            layout: Layout::new(Ethernet::LEN, Ethernet::LEN),
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

    /// The client's address.
    #[inline(always)]
    #[must_use]
    pub const fn client(&self) -> Address {
        let [a, b, c] = self.source_rest;
        Address::from_words([self.source as u32, a, b, c], self.ipv6)
    }

    /// The client's port, or the identifier of an echo request.
    #[inline(always)]
    #[must_use]
    pub const fn client_port(&self) -> u16 {
        (self.source >> 32) as u16
    }

    /// The same packet as if it came from and went to these ports.
    #[inline(always)]
    #[must_use]
    pub const fn with_ports(self, client: u16, service: u16) -> Self {
        let key = self.key.at(service, self.key.marked_protocol());
        Self { key, source: source(self.source as u32, client), ..self }
    }

    /// The same packet as if only the client address' bits in `mask` were set, in words as in
    /// [`Address`].
    #[inline(always)]
    #[must_use]
    pub(crate) const fn masked(self, mask: &[u32; 4]) -> Self {
        let [a, b, c] = self.source_rest;
        Self {
            source: self.source & (0xffff_ffff << 32 | mask[0] as u64),
            source_rest: [a & mask[1], b & mask[2], c & mask[3]],
            ..self
        }
    }

    /// The same packet as if it told nothing of its flow's life.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn without_flags(self) -> Self {
        Self { flags: 0, ..self }
    }

    /// The same packet for another service.
    #[inline(always)]
    #[must_use]
    pub const fn for_service(self, key: ServiceKey) -> Self {
        Self { key, ..self }
    }

    /// Whether the lengths that the headers claim fit each other and the frame. A frame may be
    /// longer than its packet: Ethernet pads to 60 bytes.
    #[inline(always)]
    #[must_use]
    pub fn is_well_formed<F: Frame>(&self, frame: &F) -> bool {
        self.claimed <= self.length && frame.holds(self.layout.network() + self.length as usize)
    }
}

/// Reads a TCP or UDP packet of IPv4 without options, in one piece, behind an Ethernet header
/// without tags. `None` is any other.
#[inline(always)]
pub fn ipv4<F: Frame>(frame: &F) -> Option<Packet> {
    const LAYOUT: Layout = Layout::new(Ethernet::LEN, Ethernet::LEN + Ipv4Hdr::LEN);

    let ip = frame.header::<Ipv4Hdr>(LAYOUT.network())?;
    let is_fragment = ip.frags[0] & FRAGMENT[0] != 0 || ip.frags[1] & FRAGMENT[1] != 0;
    if is_fragment || ip.vihl != IPV4_WITHOUT_OPTIONS {
        return None;
    }
    let transport = transport(frame, LAYOUT.transport(), ip.proto)?;
    Some(of_ipv4(ip, LAYOUT, &transport, ip.proto))
}

/// Reads a TCP or UDP packet of IPv6 without extension headers behind an Ethernet header without
/// tags. `None` is any other.
#[inline(always)]
pub fn ipv6<F: Frame>(frame: &F) -> Option<Packet> {
    const LAYOUT: Layout = Layout::new(Ethernet::LEN, Ethernet::LEN + Ipv6Hdr::LEN);

    let ip = frame.header::<Ipv6Hdr>(LAYOUT.network())?;
    if ip.vcf[0] >> 4 != 6 {
        return None;
    }
    let transport = transport(frame, LAYOUT.transport(), ip.next_hdr)?;
    Some(of_ipv6(ip, LAYOUT, &transport, ip.next_hdr))
}

#[inline(always)]
fn of_ipv4(ip: &Ipv4Hdr, layout: Layout, transport: &Transport, protocol: u8) -> Packet {
    let destination = u32::from_ne_bytes(ip.dst_addr);
    let first = u32::from_ne_bytes(ip.src_addr);
    Packet {
        key: ServiceKey::from_parts(
            ServiceKey::word(destination, transport.destination, protocol, false),
            [0; 3],
        ),
        age: transport.age,
        flags: transport.flags,
        length: u32::from(u16::from_be_bytes(ip.tot_len)),
        traffic_class: ip.tos,
        hop_limit: ip.ttl,
        ipv6: false,
        layout,
        source: source(first, transport.source),
        source_rest: [0; 3],
        claimed: layout.header() + transport.claimed,
    }
}

#[inline(always)]
fn of_ipv6(ip: &Ipv6Hdr, layout: Layout, transport: &Transport, protocol: u8) -> Packet {
    let [destination, destination_rest @ ..] = address::words(ip.dst_addr);
    let [first, source_rest @ ..] = address::words(ip.src_addr);
    Packet {
        key: ServiceKey::from_parts(
            ServiceKey::word(destination, transport.destination, protocol, true),
            destination_rest,
        ),
        age: transport.age,
        flags: transport.flags,
        length: u32::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN as u32,
        traffic_class: ip.vcf[0] << 4 | ip.vcf[1] >> 4,
        hop_limit: ip.hop_limit,
        ipv6: true,
        layout,
        source: source(first, transport.source),
        source_rest,
        claimed: layout.header() + transport.claimed,
    }
}

#[inline(always)]
const fn source(first: u32, port: u16) -> u64 {
    first as u64 | (port as u64) << 32
}

/// What a transport header says.
#[derive(Clone, Copy)]
struct Transport {
    source: u16,
    destination: u16,
    age: Age,
    flags: u8,
    /// Bytes that the header claims: TCP its own length, UDP its own and its payload's. At least
    /// the shortest header's length, or more than any packet's length where it claims less.
    claimed: u32,
}

/// More than the length of any packet, so that no comparison with one succeeds.
const IMPOSSIBLE: u32 = 1 << 17;

#[inline(always)]
fn transport<F: Frame>(frame: &F, offset: usize, protocol: u8) -> Option<Transport> {
    match protocol {
        service::TCP => tcp(frame, offset),
        service::UDP => udp(frame, offset),
        _ => None,
    }
}

#[inline(always)]
fn tcp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let tcp = frame.header::<[u8; TCP_LEN]>(offset)?;
    let length = u32::from(tcp[12] >> 4) * 4;
    Some(Transport {
        source: u16::from_be_bytes([tcp[0], tcp[1]]),
        destination: u16::from_be_bytes([tcp[2], tcp[3]]),
        age: if tcp[13] & SYN_ACK == SYN { Age::Begins } else { Age::Continues },
        flags: tcp[13],
        claimed: if length < TCP_LEN as u32 { IMPOSSIBLE } else { length },
    })
}

#[inline(always)]
fn udp<F: Frame>(frame: &F, offset: usize) -> Option<Transport> {
    let udp = frame.header::<UdpHdr>(offset)?;
    let length = u32::from(u16::from_be_bytes(udp.len));
    Some(Transport {
        source: u16::from_be_bytes(udp.src),
        destination: u16::from_be_bytes(udp.dst),
        age: Age::Unknown,
        flags: 0,
        claimed: if length < UdpHdr::LEN as u32 { IMPOSSIBLE } else { length },
    })
}

#[cfg(test)]
mod tests;
