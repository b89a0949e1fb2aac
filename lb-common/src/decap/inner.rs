//! The packet in the tunnel.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::ecn::ECN;
use crate::{
    address::{self, Address},
    checksum,
    forward::{IP_IN_IP, IPV6_IN_IP},
    frame::{Ethernet, Frame},
};

/// The family of a packet in a tunnel.
#[derive(Clone, Copy)]
pub(super) enum Inner {
    Ipv4,
    Ipv6,
}

/// What the header of a packet in a tunnel says.
pub(super) struct InnerPacket {
    pub(super) destination: Address,
    /// Bytes of all of it.
    pub(super) length: usize,
    pub(super) ecn: u8,
}

impl Inner {
    /// The family by its number in a tunnel.
    #[inline(always)]
    pub(super) const fn from_protocol(protocol: u8) -> Option<Self> {
        match protocol {
            IP_IN_IP => Some(Self::Ipv4),
            IPV6_IN_IP => Some(Self::Ipv6),
            _ => None,
        }
    }

    pub(super) const fn ether_type(self) -> u16 {
        match self {
            Self::Ipv4 => Ethernet::IPV4,
            Self::Ipv6 => Ethernet::IPV6,
        }
    }

    /// What the header at `offset` says of the packet; `None` if it cannot be one.
    #[inline(always)]
    pub(super) fn read<F: Frame>(self, frame: &F, offset: usize) -> Option<InnerPacket> {
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
    pub(super) fn set_ecn<F: Frame>(self, frame: &mut F, offset: usize, ecn: u8) -> Option<()> {
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
