//! Ways to get a packet to its backend, a file each.

pub mod gue;
pub(crate) mod ipip;
pub(crate) mod l2;
pub(crate) mod mark;
mod outer;

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::frame::{Ethernet, Frame};

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
    /// Outer IP and UDP headers and a GUE header, draft-ietf-intarea-gue-09 variant 0.
    Gue = 3,
    /// Translated addresses and ports, in both directions.
    Nat = 4,
}

impl Forward {
    /// The reverse of `as u8`.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::L2),
            2 => Some(Self::Ipip),
            3 => Some(Self::Gue),
            4 => Some(Self::Nat),
            _ => None,
        }
    }

    /// Bytes that this way adds to a packet.
    #[inline(always)]
    #[must_use]
    pub const fn overhead(self, outer_ipv6: bool) -> u32 {
        match (self, outer_ipv6) {
            (Self::L2 | Self::Nat, _) => 0,
            (Self::Ipip, false) => Ipv4Hdr::LEN as u32,
            (Self::Ipip, true) => Ipv6Hdr::LEN as u32,
            (Self::Gue, false) => (Ipv4Hdr::LEN + gue::HEADERS) as u32,
            (Self::Gue, true) => (Ipv6Hdr::LEN + gue::HEADERS) as u32,
        }
    }
}

/// Addresses the frame to the next hop. `None` if it is no frame.
#[inline(always)]
pub(crate) fn rewrite_link<F: Frame>(frame: &mut F, link: [u8; 12]) -> Option<()> {
    frame.header_mut::<Ethernet>(0)?.link = link;
    Some(())
}

#[cfg(test)]
mod tests;
