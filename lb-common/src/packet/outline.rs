//! A packet's headers in outline: where they are, before the transport header is read.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Layout, extension};
use crate::{
    frame::{Ethernet, Frame},
    tags::Tags,
    verdict::Verdict,
};

/// What the IP header says of what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    /// VLAN tags.
    pub tags: Tags,
    /// Where the headers are.
    pub layout: Layout,
    /// Number of the protocol at the transport offset.
    pub protocol: u8,
    /// Whether it is an IPv6 packet.
    pub ipv6: bool,
    /// Which part of a datagram it is.
    pub piece: Piece,
    /// How far the walk over what stands before the transport header has come: bytes of options,
    /// or number of extension headers.
    pub walked: u16,
    /// What is wrong with it, which matters if it is for a service.
    pub flaw: Option<Verdict>,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Whether more follows.
    pub more: bool,
    /// The datagram's identification.
    pub id: u32,
}

impl Piece {
    /// All of it.
    pub const WHOLE: Self = Self { offset: 0, more: false, id: 0 };
}

/// Reads tags and IP header. A verdict is that of a packet that cannot be for a service.
#[inline(always)]
pub fn read<F: Frame>(frame: &F) -> Result<Outline, Verdict> {
    let (tags, ether_type) = Tags::read(frame).ok_or(Verdict::NotIp)?;
    match ether_type {
        Ethernet::IPV4 => ipv4(frame, tags),
        Ethernet::IPV6 => ipv6(frame, tags),
        _ => Err(Verdict::NotIp),
    }
}

impl Outline {
    /// Whether options or extension headers stand between IP header and transport header.
    #[inline(always)]
    #[must_use]
    pub fn has_more_headers(&self) -> bool {
        if self.ipv6 {
            extension::is_extension(self.protocol)
        } else {
            self.layout.header() > Ipv4Hdr::LEN as u32
        }
    }
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, tags: Tags) -> Result<Outline, Verdict> {
    let network = tags.network();
    let ip = frame.header::<Ipv4Hdr>(network).ok_or(Verdict::Truncated)?;
    if ip.vihl >> 4 != 4 || ip.vihl & 0x0f < 5 {
        return Err(Verdict::NotIp);
    }
    let field = u16::from_be_bytes(ip.frags);
    Ok(Outline {
        tags,
        layout: Layout::new(network, network + usize::from(ip.vihl & 0x0f) * 4),
        protocol: ip.proto,
        ipv6: false,
        piece: Piece {
            offset: u32::from(field & 0x1fff) * 8,
            more: field & 0x2000 != 0,
            id: u32::from(u16::from_be_bytes(ip.id)),
        },
        walked: 0,
        flaw: None,
    })
}

#[inline(always)]
fn ipv6<F: Frame>(frame: &F, tags: Tags) -> Result<Outline, Verdict> {
    let network = tags.network();
    let ip = frame.header::<Ipv6Hdr>(network).ok_or(Verdict::Truncated)?;
    if ip.vcf[0] >> 4 != 6 {
        return Err(Verdict::NotIp);
    }
    Ok(Outline {
        tags,
        layout: Layout::new(network, network + Ipv6Hdr::LEN),
        protocol: ip.next_hdr,
        ipv6: true,
        piece: Piece::WHOLE,
        walked: 0,
        flaw: None,
    })
}
