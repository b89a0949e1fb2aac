//! Packets of every shape: tagged, with options and extension headers, in fragments, ICMP.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{
    Age, IMPOSSIBLE, Layout, Packet, TCP_LEN, Transport, of_ipv4, of_ipv6,
    outline::{Outline, Piece},
    quote::{self, ICMP_LEN},
    transport,
};
use crate::{
    frame::Frame,
    hash::HashKey,
    service::{ICMP, ICMPV6, TCP, UDP},
    tags::Tags,
    verdict::Verdict,
};

/// A packet of any shape.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its flow and lengths. Of an ICMP error this is the flow that it quotes, with the lengths
    /// and the IP header of the error itself.
    pub packet: Packet,
    /// What kind of packet it is.
    pub kind: Kind,
    /// Its VLAN tags.
    pub tags: Tags,
    /// What is wrong with it, which matters if it is for a service.
    pub flaw: Option<Verdict>,
}

/// Kinds of packets that differ in how they find their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TCP or UDP packet in one piece.
    Whole,
    /// The first fragment of a TCP or UDP packet, with the datagram's identification.
    FirstFragment(u32),
    /// Any other fragment: ports are not known, and zero.
    LaterFragment(u32),
    /// An ICMP echo request; its identifier is in the place of the client's port.
    Echo,
    /// An ICMP echo reply; its identifier is in the place of the service's port.
    EchoReply,
    /// An ICMP error.
    Error {
        /// Where the quoted packet's headers are.
        quoted: Layout,
    },
}

impl Seen {
    /// Nothing yet.
    pub const NONE: Self =
        Self { packet: Packet::NONE, kind: Kind::Whole, tags: Tags::NONE, flaw: None };

    /// Hash of what all fragments of a datagram share: addresses, protocol and identification.
    #[inline(always)]
    #[must_use]
    pub const fn datagram(&self, key: &HashKey, id: u32) -> u64 {
        let packet = self.packet.with_ports(0, 0);
        key.absorb(packet.flow(key, packet.key.hash(key)), id as u64)
    }
}

/// Reads what an outline leads to. A verdict is that of a packet that cannot be for a service.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, outline: &Outline) -> Result<Seen, Verdict> {
    if outline.ipv6 { ipv6(frame, outline) } else { ipv4(frame, outline) }
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, outline: &Outline) -> Result<Seen, Verdict> {
    let layout = outline.layout;
    let ip = frame.header::<Ipv4Hdr>(layout.network()).ok_or(Verdict::Truncated)?;
    let shape = shape(frame, outline, u32::from(u16::from_be_bytes(ip.tot_len)))?;
    let own = of_ipv4(ip, layout, &shape.transport, outline.protocol);
    finish(outline, &shape, own)
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, outline: &Outline) -> Result<Seen, Verdict> {
    let layout = outline.layout;
    let ip = frame.header::<Ipv6Hdr>(layout.network()).ok_or(Verdict::Truncated)?;
    let length = u32::from(u16::from_be_bytes(ip.payload_len)) + Ipv6Hdr::LEN as u32;
    let shape = shape(frame, outline, length)?;
    let own = of_ipv6(ip, layout, &shape.transport, outline.protocol);
    finish(outline, &shape, own)
}

#[inline(always)]
fn finish(outline: &Outline, shape: &Shape, own: Packet) -> Result<Seen, Verdict> {
    let packet = match shape.quoted {
        // Whoever quotes another's packet means another.
        Some(quoted) if own.key.words() != quoted.key.words() => return Err(Verdict::NotTransport),
        Some(quoted) => as_error(quoted, &own),
        None => own,
    };
    let flaw = outline.flaw.or(shape.flaw);
    Ok(Seen { packet, kind: shape.kind, tags: outline.tags, flaw })
}

/// The quoted flow in the error's own header.
#[inline(always)]
const fn as_error(quoted: Packet, error: &Packet) -> Packet {
    Packet {
        length: error.length,
        traffic_class: error.traffic_class,
        hop_limit: error.hop_limit,
        layout: error.layout,
        claimed: error.claimed,
        ..quoted
    }
}

/// What stands behind the IP header.
struct Shape {
    kind: Kind,
    transport: Transport,
    quoted: Option<Packet>,
    flaw: Option<Verdict>,
}

#[inline(always)]
fn shape<F: Frame>(frame: &F, outline: &Outline, length: u32) -> Result<Shape, Verdict> {
    let Outline { layout, protocol, ipv6, piece, .. } = *outline;
    let is_segment = matches!(protocol, TCP | UDP);
    if piece.offset != 0 {
        return if is_segment {
            Ok(later_fragment(layout, protocol, &piece, length))
        } else {
            Err(Verdict::Fragment)
        };
    }
    if is_segment {
        return segment(frame, layout, protocol, &piece, length);
    }
    let is_icmp = protocol == if ipv6 { ICMPV6 } else { ICMP };
    match (is_icmp, piece.more) {
        (true, false) => icmp(frame, layout, ipv6),
        (true, true) => Err(Verdict::Fragment),
        _ => Err(Verdict::NotTransport),
    }
}

#[inline(always)]
fn later_fragment(layout: Layout, protocol: u8, piece: &Piece, length: u32) -> Shape {
    const LONGEST_DATAGRAM: u32 = 65_535;

    let headers = layout.header();
    // RFC 3128: a second fragment from byte 8 on would replace the TCP flags of the first.
    let flaw = if protocol == TCP && piece.offset == 8 {
        Some(Verdict::TinyFragment)
    } else if piece.offset + length.saturating_sub(headers) > LONGEST_DATAGRAM {
        Some(Verdict::Malformed)
    } else {
        None
    };
    let age = if protocol == TCP { Age::Continues } else { Age::Unknown };
    let transport = Transport { source: 0, destination: 0, age, flags: 0, claimed: 0 };
    Shape { kind: Kind::LaterFragment(piece.id), transport, quoted: None, flaw }
}

/// A TCP or UDP packet, whole or its first fragment.
#[inline(always)]
fn segment<F: Frame>(
    frame: &F,
    layout: Layout,
    protocol: u8,
    piece: &Piece,
    length: u32,
) -> Result<Shape, Verdict> {
    let kind = if piece.more { Kind::FirstFragment(piece.id) } else { Kind::Whole };
    let Some(read) = transport(frame, layout.transport(), protocol) else {
        // The ports suffice to tell whether it is for a service, where it has no business.
        let [a, b, c, d] =
            *frame.header::<[u8; 4]>(layout.transport()).ok_or(Verdict::Truncated)?;
        let transport = Transport {
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
            age: Age::Continues,
            flags: 0,
            claimed: 0,
        };
        let flaw = if piece.more { Verdict::TinyFragment } else { Verdict::Malformed };
        return Ok(Shape { kind, transport, quoted: None, flaw: Some(flaw) });
    };
    if !piece.more {
        return Ok(Shape { kind, transport: read, quoted: None, flaw: None });
    }
    let headers = layout.header();
    let shortest = if protocol == TCP { TCP_LEN as u32 } else { 8 };
    // RFC 1858: a first fragment must hold the whole transport header.
    let needed = if protocol == TCP { read.claimed } else { shortest };
    let flaw = (headers + needed > length).then_some(Verdict::TinyFragment);
    // UDP claims the length of the datagram, not of this piece; its header is a part of it.
    let claimed = if read.claimed == IMPOSSIBLE { IMPOSSIBLE } else { shortest };
    let transport = Transport { claimed, ..read };
    Ok(Shape { kind, transport, quoted: None, flaw })
}

#[inline(always)]
fn icmp<F: Frame>(frame: &F, layout: Layout, ipv6: bool) -> Result<Shape, Verdict> {
    let [kind, _, _, _, a, b, _, _] =
        *frame.header::<[u8; ICMP_LEN]>(layout.transport()).ok_or(Verdict::Truncated)?;
    let none = Transport {
        source: 0,
        destination: 0,
        age: Age::Unknown,
        flags: 0,
        claimed: ICMP_LEN as u32,
    };
    let [request, reply] = quote::echo_types(ipv6);
    if kind == request || kind == reply {
        let id = u16::from_be_bytes([a, b]);
        let (source, destination) = if kind == request { (id, 0) } else { (0, id) };
        let transport = Transport { source, destination, ..none };
        let kind = if kind == request { Kind::Echo } else { Kind::EchoReply };
        return Ok(Shape { kind, transport, quoted: None, flaw: None });
    }
    if !quote::is_error(kind, ipv6) {
        return Err(Verdict::NotTransport);
    }
    let start = layout.transport() + ICMP_LEN;
    let quoted = if ipv6 { quote::ipv6(frame, start) } else { quote::ipv4(frame, start) };
    let quoted = quoted.ok_or(Verdict::NotTransport)?;
    let kind = Kind::Error { quoted: quoted.layout };
    Ok(Shape { kind, transport: none, quoted: Some(quoted), flaw: None })
}
