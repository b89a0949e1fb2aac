//! ICMP errors, and the packet of a service that they quote.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{Age, FRAGMENT, Layout, Packet, Transport, extension, of_ipv4, of_ipv6};
use crate::{
    frame::Frame,
    service::{ICMP, ICMPV6, TCP, UDP},
};

/// ICMP's header before what it quotes.
pub(super) const ICMP_LEN: usize = 8;

/// Destination unreachable, source quench, time exceeded, parameter problem: RFC 792.
const ERRORS: [u8; 4] = [3, 4, 11, 12];
/// Destination unreachable, packet too big, time exceeded, parameter problem: RFC 4443.
const ERRORS_IPV6: [u8; 4] = [1, 2, 3, 4];

/// Whether an ICMP or ICMPv6 type is an error's, which quotes a packet.
#[inline(always)]
pub(super) const fn is_error(kind: u8, ipv6: bool) -> bool {
    let [a, b, c, d] = if ipv6 { ERRORS_IPV6 } else { ERRORS };
    kind == a || kind == b || kind == c || kind == d
}

/// Whether an ICMP error says that nobody takes the packet that it quotes: destination unreachable, but
/// not for the packet's length.
#[inline(always)]
pub(crate) fn is_unreachable<F: Frame>(frame: &F, error: &Packet) -> bool {
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    const UNREACHABLE_IPV6: u8 = 1;

    let Some([kind, code]) = frame.header::<[u8; 2]>(error.layout.transport()) else {
        return false;
    };
    if error.ipv6 {
        *kind == UNREACHABLE_IPV6
    } else {
        *kind == UNREACHABLE && *code != FRAGMENTATION_NEEDED
    }
}

/// The flow of the packet that an ICMP error at `offset` quotes, as its client's packets name it:
/// what was quoted went the other way. `None` if its ports cannot be known. Eight bytes behind the
/// quoted IP header suffice, RFC 792.
#[inline(always)]
pub(super) fn ipv4<F: Frame>(frame: &F, offset: usize) -> Option<Packet> {
    let ip = frame.header::<Ipv4Hdr>(offset)?;
    let is_later = ip.frags[0] & (FRAGMENT[0] & 0x1f) != 0 || ip.frags[1] != 0;
    if ip.vihl >> 4 != 4 || ip.vihl & 0x0f < 5 || is_later {
        return None;
    }
    let transport = offset + usize::from(ip.vihl & 0x0f) * 4;
    let ports = ports(frame, transport, ip.proto, false)?;
    let mirrored = Ipv4Hdr { src_addr: ip.dst_addr, dst_addr: ip.src_addr, ..*ip };
    Some(of_ipv4(&mirrored, Layout::new(offset, transport), &ports, ip.proto))
}

/// As [`ipv4`], of IPv6; the quoted packet may be a first fragment.
#[inline(always)]
pub(super) fn ipv6<F: Frame>(frame: &F, offset: usize) -> Option<Packet> {
    let ip = frame.header::<Ipv6Hdr>(offset)?;
    if ip.vcf[0] >> 4 != 6 {
        return None;
    }
    let (protocol, transport) = extension::quoted(frame, offset + Ipv6Hdr::LEN, ip.next_hdr)?;
    let ports = ports(frame, transport, protocol, true)?;
    let mirrored = Ipv6Hdr { src_addr: ip.dst_addr, dst_addr: ip.src_addr, ..*ip };
    let layout = Layout::new(offset, transport);
    Some(of_ipv6(&mirrored, layout, &ports, protocol))
}

/// The ICMP or ICMPv6 types of echo requests and replies.
#[inline(always)]
pub(super) const fn echo_types(ipv6: bool) -> [u8; 2] {
    if ipv6 { [128, 129] } else { [8, 0] }
}

/// The ports of the quoted packet, the other way round; of an echo packet, its identifier on the
/// requester's side.
#[inline(always)]
fn ports<F: Frame>(frame: &F, offset: usize, protocol: u8, ipv6: bool) -> Option<Transport> {
    let age = if protocol == TCP { Age::Continues } else { Age::Unknown };
    let (source, destination) = match (protocol, ipv6) {
        (TCP | UDP, _) => {
            let [a, b, c, d] = *frame.header::<[u8; 4]>(offset)?;
            (u16::from_be_bytes([c, d]), u16::from_be_bytes([a, b]))
        }
        (ICMP, false) | (ICMPV6, true) => {
            let [kind, _, _, _, a, b] = frame.header::<[u8; 6]>(offset)?;
            let [request, reply] = echo_types(ipv6);
            let id = u16::from_be_bytes([*a, *b]);
            match kind {
                _ if *kind == reply => (id, 0),
                _ if *kind == request => (0, id),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Transport { source, destination, age, flags: 0, claimed: 0 })
}
