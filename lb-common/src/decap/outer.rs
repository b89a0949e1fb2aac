//! The outer packet: what its IP header says, and what it carries.

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use super::{Gate, ecn::ECN, inner::Inner};
use crate::{
    address::{self, Address},
    frame::Frame,
    service::UDP,
};

/// What an outer IP header says.
pub(super) struct Outer {
    pub(super) source: Address,
    pub(super) destination: Address,
    /// Where the header starts, in bytes from the start of the frame.
    pub(super) network: usize,
    /// Where what follows the header starts, likewise.
    pub(super) payload: usize,
    /// Where the packet ends, likewise.
    pub(super) end: usize,
    /// Number of what follows.
    protocol: u8,
    /// What the way said of congestion.
    pub(super) ecn: u8,
}

/// How an outer packet carries another.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// Right behind its IP header.
    Ip(Inner),
    /// In GUE over UDP, see [`super::gue`].
    Gue,
}

impl Outer {
    /// The IPv4 header at `network`; `None` of one with options, or of a fragment.
    #[inline(always)]
    pub(super) fn ipv4<F: Frame>(frame: &F, network: usize) -> Option<Self> {
        let ip = frame.header::<Ipv4Hdr>(network)?;
        let is_fragment = ip.frags[0] & 0x3f != 0 || ip.frags[1] != 0;
        if ip.vihl != 0x45 || is_fragment {
            return None;
        }
        let address = |octets| Address::from_words([u32::from_ne_bytes(octets), 0, 0, 0], false);
        Some(Self {
            source: address(ip.src_addr),
            destination: address(ip.dst_addr),
            network,
            payload: network + Ipv4Hdr::LEN,
            end: network + usize::from(u16::from_be_bytes(ip.tot_len)),
            protocol: ip.proto,
            ecn: ip.tos & ECN,
        })
    }

    /// The IPv6 header at `network`.
    #[inline(always)]
    pub(super) fn ipv6<F: Frame>(frame: &F, network: usize) -> Option<Self> {
        let ip = frame.header::<Ipv6Hdr>(network)?;
        if ip.vcf[0] >> 4 != 6 {
            return None;
        }
        let payload = network + Ipv6Hdr::LEN;
        Some(Self {
            source: Address::from_words(address::words(ip.src_addr), true),
            destination: Address::from_words(address::words(ip.dst_addr), true),
            network,
            payload,
            end: payload + usize::from(u16::from_be_bytes(ip.payload_len)),
            protocol: ip.next_hdr,
            ecn: ip.vcf[1] >> 4 & ECN,
        })
    }

    /// How it carries another packet, as far as its own headers tell; `None` if it does not.
    #[inline(always)]
    pub(super) fn carrier<F: Frame, G: Gate>(&self, frame: &F, gate: &G) -> Option<Carrier> {
        if self.protocol != UDP {
            return Inner::from_protocol(self.protocol).map(Carrier::Ip);
        }
        let port = gate.gue_port();
        let udp = frame.header::<UdpHdr>(self.payload)?;
        (port != 0 && u16::from_be_bytes(udp.dst) == port).then_some(Carrier::Gue)
    }
}
