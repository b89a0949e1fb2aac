//! A second chance for packets that came to the wrong one of two backends.
//!
//! A load balancer that has not seen a connection begin may not know which of a slot's two backends
//! has it. It sends the packet to one and names the other in the tunnel's [`mark`]. A machine that
//! does not have the connection gives the packet on to the other, once.

use network_types::{
    ip::{Ipv4Hdr, Ipv6Hdr},
    udp::UdpHdr,
};

use super::{Gate, gue, inner::Inner, outer::Outer};
use crate::{
    address::{self, Address},
    checksum,
    forward::mark,
    frame::Frame,
    service::TCP,
};

/// A connection as its client's packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Connection {
    /// The client.
    pub client: Address,
    /// The service.
    pub server: Address,
    /// The client's port and the service's as they lie in the segment, in memory's order.
    pub ports: u32,
}

/// A client's TCP segment in a tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Whose it is.
    pub connection: Connection,
    /// Where its IP header starts, in bytes from the start of the frame.
    pub network: usize,
    /// Where its TCP header starts, likewise. The frame holds the 20 bytes of it.
    pub transport: usize,
}

/// Shortest TCP header in bytes.
const TCP_LEN: usize = 20;
/// Flag of TCP's fourteenth byte, RFC 9293 section 3.1.
const SYN: u8 = 0x02;

/// The backend that may have the connection of the packet at `start`, if this machine does not have
/// it. `None` where the packet is to be opened here: it has no mark of the outer family that is not
/// spent, it is no TCP segment or begins a connection, or the other backend is this machine too.
#[inline(always)]
pub(super) fn wanted<F: Frame, G: Gate>(
    frame: &F,
    gate: &G,
    outer: &Outer,
    words: u32,
    inner: Inner,
    start: usize,
) -> Option<Address> {
    let ipv6 = outer.destination.is_ipv6();
    let at = mark_of(outer);
    let head = u32::from_be_bytes(*frame.header::<[u8; mark::HEAD]>(at)?);
    if words != mark::words(ipv6) || head != mark::head(mark::OTHER, ipv6) {
        return None;
    }
    let other = mark::address(frame, at + mark::HEAD, ipv6)?;
    let segment = Segment::read(frame, inner, start)?;
    (!gate.has(&other) && !gate.knows(frame, &segment)).then_some(other)
}

/// Where the mark is, if there is one.
#[inline(always)]
const fn mark_of(outer: &Outer) -> usize {
    outer.payload + UdpHdr::LEN + gue::BASE
}

impl Segment {
    /// The segment in the packet at `start`; `None` if that is none, is a fragment of one, has
    /// extension headers before it, or has SYN set.
    #[inline(always)]
    fn read<F: Frame>(frame: &F, inner: Inner, start: usize) -> Option<Self> {
        let (client, server, transport) = match inner {
            Inner::Ipv4 => {
                let ip = frame.header::<Ipv4Hdr>(start)?;
                let is_fragment = ip.frags[0] & 0x3f != 0 || ip.frags[1] != 0;
                if ip.proto != TCP || is_fragment {
                    return None;
                }
                let address =
                    |octets| Address::from_words([u32::from_ne_bytes(octets), 0, 0, 0], false);
                let header = 4 * usize::from(ip.vihl & 0x0f);
                (address(ip.src_addr), address(ip.dst_addr), start + header)
            }
            Inner::Ipv6 => {
                let ip = frame.header::<Ipv6Hdr>(start)?;
                if ip.next_hdr != TCP {
                    return None;
                }
                let address = |octets| Address::from_words(address::words(octets), true);
                (address(ip.src_addr), address(ip.dst_addr), start + Ipv6Hdr::LEN)
            }
        };
        let tcp = frame.header::<[u8; TCP_LEN]>(transport)?;
        let ports = u32::from_ne_bytes([tcp[0], tcp[1], tcp[2], tcp[3]]);
        let connection = Connection { client, server, ports };
        (tcp[13] & SYN == 0).then_some(Self { connection, network: start, transport })
    }
}

/// Addresses the frame to the other backend, and spends its mark. `None` if the frame does not hold
/// what it held before.
#[inline(always)]
pub(super) fn give_on<F: Frame>(frame: &mut F, outer: &Outer, other: &Address) -> Option<()> {
    let ipv6 = other.is_ipv6();
    let changed = complement(mark::sum(&outer.destination)) + mark::sum(other);
    let udp = frame.header_mut::<UdpHdr>(outer.payload)?;
    let sum = u16::from_be_bytes(udp.check);
    if sum != 0 {
        let kinds = [mark::OTHER, mark::SPENT].map(|kind| mark::head(kind, ipv6) & 0xffff);
        let sum = match updated(sum, changed + complement(kinds[0]) + kinds[1]) {
            // RFC 768: a sum of zero is written as its other form.
            0 => 0xffff,
            sum => sum,
        };
        udp.check = sum.to_be_bytes();
    }
    let head = frame.header_mut::<[u8; mark::HEAD]>(mark_of(outer))?;
    *head = mark::head(mark::SPENT, ipv6).to_be_bytes();
    if ipv6 {
        let ip = frame.header_mut::<Ipv6Hdr>(outer.network)?;
        ip.dst_addr = address::octets(other.words());
    } else {
        let ip = frame.header_mut::<Ipv4Hdr>(outer.network)?;
        ip.check = updated(u16::from_be_bytes(ip.check), changed).to_be_bytes();
        ip.dst_addr = other.words()[0].to_ne_bytes();
    }
    Some(())
}

/// A checksum after its words have changed: RFC 1624 section 3, equation 3. `changed` is the sum of
/// the new words and of the complements of the old ones.
#[inline(always)]
const fn updated(sum: u16, changed: u32) -> u16 {
    !checksum::fold(!sum as u32 + changed)
}

/// What undoes a sum of words.
#[inline(always)]
const fn complement(sum: u32) -> u32 {
    !checksum::fold(sum) as u32
}
