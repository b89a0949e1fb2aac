//! Both ends of an answer, and the headers between them.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::HOP_LIMIT;
use crate::{address, checksum, frame::Frame, packet::Packet};

/// Where an answer comes from and goes to: the packet's own ends the other way round. Words, since
/// the verifier wants the stack aligned.
pub(super) struct Ends {
    /// The first eight and the last four bytes of the frame's hardware addresses as they came.
    link: (u64, u32),
    source: [u32; 4],
    destination: [u32; 4],
}

impl Ends {
    /// The ends of a packet, unless its sender cannot be told, or it was sent to more than one.
    #[inline(always)]
    pub(super) fn read<F: Frame>(frame: &F, packet: &Packet) -> Option<Self> {
        let first = u64::from_le_bytes(*frame.header::<[u8; 8]>(0)?);
        let last = u32::from_le_bytes(*frame.header::<[u8; 4]>(8)?);
        if first & GROUPS != 0 {
            return None;
        }
        let network = packet.layout.network();
        let (source, destination) = if packet.ipv6 {
            let ip = frame.header::<Ipv6Hdr>(network)?;
            (address::words(ip.dst_addr), address::words(ip.src_addr))
        } else {
            let ip = frame.header::<Ipv4Hdr>(network)?;
            let [source, destination] = [ip.dst_addr, ip.src_addr].map(u32::from_ne_bytes);
            ([source, 0, 0, 0], [destination, 0, 0, 0])
        };
        let is_host = if packet.ipv6 { is_ipv6_host(destination) } else { is_host(destination[0]) };
        is_host.then_some(Self { link: (first, last), source, destination })
    }

    /// Hardware addresses, destination first.
    #[inline(always)]
    pub(super) const fn link(&self) -> [u8; 12] {
        let (first, last) = self.link;
        let [a, b, c, d, e, f, g, h] =
            (first >> 48 | (last as u64) << 16 | first << 48).to_le_bytes();
        let [i, j, k, l] = ((first >> 16) as u32).to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// The sum of both addresses as big-endian 16-bit words.
    #[inline(always)]
    pub(super) const fn sum(&self) -> u32 {
        let [a, b, c, d] = self.source;
        let [e, f, g, h] = self.destination;
        halves(a)
            + halves(b)
            + halves(c)
            + halves(d)
            + halves(e)
            + halves(f)
            + halves(g)
            + halves(h)
    }

    /// Writes the header of an IPv4 packet of `length` bytes.
    #[inline(always)]
    pub(super) fn write_ipv4<F: Frame>(
        &self,
        frame: &mut F,
        offset: usize,
        class: u8,
        length: u32,
        protocol: u8,
    ) -> Option<()> {
        const START: u32 = 0x4500;
        const DONT_FRAGMENT: u32 = 0x4000;

        let limits = u32::from(u16::from_be_bytes([HOP_LIMIT, protocol]));
        let sum = START + u32::from(class) + length + DONT_FRAGMENT + limits + self.sum();
        let ip = frame.header_mut::<Ipv4Hdr>(offset)?;
        ip.vihl = 0x45;
        ip.tos = class;
        ip.tot_len = (length as u16).to_be_bytes();
        // RFC 6864: an atomic datagram (don't-fragment set) needs no identification.
        ip.id = [0; 2];
        ip.frags = [0x40, 0];
        ip.ttl = HOP_LIMIT;
        ip.proto = protocol;
        ip.check = (!checksum::fold(sum)).to_be_bytes();
        ip.src_addr = self.source[0].to_ne_bytes();
        ip.dst_addr = self.destination[0].to_ne_bytes();
        Some(())
    }

    /// Writes the header of an IPv6 packet of `length` bytes behind it.
    #[inline(always)]
    pub(super) fn write_ipv6<F: Frame>(
        &self,
        frame: &mut F,
        offset: usize,
        class: u8,
        length: u32,
        protocol: u8,
    ) -> Option<()> {
        let ip = frame.header_mut::<Ipv6Hdr>(offset)?;
        ip.vcf = (6 << 28 | u32::from(class) << 20).to_be_bytes();
        ip.payload_len = (length as u16).to_be_bytes();
        ip.next_hdr = protocol;
        ip.hop_limit = HOP_LIMIT;
        ip.src_addr = address::octets(self.source);
        ip.dst_addr = address::octets(self.destination);
        Some(())
    }
}

/// The bits, one in each of a frame's hardware addresses, that are set in those of groups,
/// broadcast among them.
const GROUPS: u64 = 1 << 48 | 1;

/// Whether an IPv4 address, as it lies in memory, is that of one other host: not of this network
/// (0/8), loopback, a group, or reserved with broadcast (RFC 1122 section 3.2.1.3).
const fn is_host(word: u32) -> bool {
    let [first, ..] = word.to_ne_bytes();
    first != 0 && first != 127 && first < 224
}

/// As [`is_host`]: not a group, and not unspecified, loopback, or what else has twelve zeros first.
const fn is_ipv6_host([a, b, c, _]: [u32; 4]) -> bool {
    let [first, ..] = a.to_ne_bytes();
    first != 0xff && a | b | c != 0
}

/// The sum of both halves of four bytes as they lie in memory.
const fn halves(word: u32) -> u32 {
    let word = u32::from_be(word);
    (word >> 16) + (word & 0xffff)
}
