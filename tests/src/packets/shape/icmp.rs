//! ICMP messages to a service: errors that quote one of its packets, and echo requests.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder};

use super::{BALANCER_LINK, CLIENT_LINK, ETHERNET, Shape};

/// What a router or host says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The host, or over IPv6 the route, cannot be reached.
    Unreachable,
    /// The packet is too big for a link with this MTU.
    TooBig(u16),
    /// The hop limit was reached.
    TimeExceeded,
}

impl Complaint {
    /// Type, code and the four bytes behind the checksum: RFC 792, RFC 1191, RFC 4443.
    const fn fields(self, ipv6: bool) -> (u8, u8, [u8; 4]) {
        let [high, low] = match self {
            Self::TooBig(mtu) => mtu.to_be_bytes(),
            _ => [0, 0],
        };
        let (kind, code) = match (self, ipv6) {
            (Self::Unreachable, false) => (3, 1),
            (Self::Unreachable, true) => (1, 0),
            (Self::TooBig(_), false) => (3, 4),
            (Self::TooBig(_), true) => (2, 0),
            (Self::TimeExceeded, false) => (11, 0),
            (Self::TimeExceeded, true) => (3, 0),
        };
        (kind, code, [0, 0, high, low])
    }
}

/// An ICMP error from `router` to the service of `shape`, about the service's answer to it, of
/// which it quotes the IP header and `quoted` bytes more. All are of one family.
///
/// # Panics
/// If the families differ.
#[must_use]
pub fn error(router: IpAddr, shape: &Shape, complaint: Complaint, quoted: usize) -> Vec<u8> {
    let answer = shape.answer();
    let frame = answer.frame();
    let end = frame.len().min(answer.transport_offset() + quoted);
    let (kind, code, rest) = complaint.fields(router.is_ipv6());
    message(router, shape.vip.ip(), kind, code, rest, &frame[ETHERNET..end])
}

/// An echo request from a client to a service's address.
///
/// # Panics
/// If the families differ.
#[must_use]
pub fn echo_request(client: SocketAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let kind = if to.is_ipv6() { 128 } else { 8 };
    let [high, low] = client.port().to_be_bytes();
    message(client.ip(), to, kind, 0, [high, low, 0, 1], payload)
}

/// The reply of a host to such a request; the port is the identifier.
///
/// # Panics
/// If the families differ.
#[must_use]
pub fn echo_reply(from: IpAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let kind = if from.is_ipv6() { 129 } else { 0 };
    let [high, low] = to.port().to_be_bytes();
    message(from, to.ip(), kind, 0, [high, low, 0, 1], payload)
}

fn message(
    from: IpAddr,
    to: IpAddr,
    kind: u8,
    code: u8,
    bytes5to8: [u8; 4],
    payload: &[u8],
) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(CLIENT_LINK, BALANCER_LINK);
    let mut frame = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => builder
            .ipv4(from.octets(), to.octets(), 61)
            .icmpv4(Icmpv4Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 })
            .write(&mut frame, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => builder
            .ipv6(from.octets(), to.octets(), 61)
            .icmpv6(Icmpv6Type::Unknown { type_u8: kind, code_u8: code, bytes5to8 })
            .write(&mut frame, payload),
        (from, to) => panic!("no ICMP message goes from {from} to {to}"),
    }
    .expect("a vector takes any packet");
    frame
}
