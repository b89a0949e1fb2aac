//! ICMP errors about tunnels: somebody on the way, or the backend itself, says that what we sent does
//! not get there.
//!
//! They come to our own outer address and quote our outer packet, so they are the host's: the program
//! passes them. By direct routing errors go to the client, and there is nothing to see; by translation
//! the program sees them itself, see [`super::signals::Signals::unreachables`].
//!
//! They are a hint, no more. Who knows both addresses can make one up, and those who send them send
//! few: Linux one a second to an address (`net.ipv4.icmp_ratelimit`). So one error says something,
//! and the number of them nothing. Most quote enough to tell which address the client's packet was
//! for, which is one more thing to know: see [`Unreachable::inner`].

mod inner;
mod listener;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::service::UDP;

pub use listener::{Listener, PER_SECOND};

/// An error about a packet of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// Our address as the tunnel showed it.
    pub ours: IpAddr,
    /// The backend that the packet was for.
    pub backend: IpAddr,
    /// How it was wrapped.
    pub tunnel: Tunnel,
    /// Whom the packet in the tunnel was for, if enough of it is quoted. Routers quote as much as
    /// fits into 576 bytes by RFC 1812 section 4.3.2.3, older ones 8 bytes of it.
    pub inner: Option<IpAddr>,
    /// What is wrong.
    pub code: Code,
}

/// A packet in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Behind nothing but the IP header, RFC 2003 and RFC 2473.
    Ipip,
    /// In a datagram to this port.
    Udp(u16),
}

/// What is wrong, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// There is no route to the backend.
    Network,
    /// The backend does not answer to its neighbours.
    Host,
    /// The backend does not know the tunnel.
    Protocol,
    /// The backend has nothing that takes the tunnel's packets.
    Port,
    /// Somebody does not let them through.
    Prohibited,
    /// They go round in circles.
    HopLimit,
}

/// Reads the backend out of an ICMP or ICMPv6 message, from its type on, that quotes a packet as our
/// tunnels look. Errors that say nothing about the backend are none: fragmentation needed, packet
/// too big.
#[must_use]
pub fn quoted_backend(message: &[u8]) -> Option<Unreachable> {
    let ([kind, code, ..], quoted) = message.split_first_chunk::<8>()?;
    match quoted.first()? >> 4 {
        4 => of_ipv4(code_of_ipv4(*kind, *code)?, quoted),
        6 => of_ipv6(code_of_ipv6(*kind, *code)?, quoted),
        _ => None,
    }
}

/// RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1.
const fn code_of_ipv4(kind: u8, code: u8) -> Option<Code> {
    Some(match (kind, code) {
        (3, 0 | 6 | 11) => Code::Network,
        (3, 1 | 7 | 8 | 12) => Code::Host,
        (3, 2) => Code::Protocol,
        (3, 3) => Code::Port,
        (3, 9 | 10 | 13) => Code::Prohibited,
        (11, 0) => Code::HopLimit,
        _ => return None,
    })
}

/// RFC 4443 section 3. A protocol that is not known is a header that is not.
const fn code_of_ipv6(kind: u8, code: u8) -> Option<Code> {
    Some(match (kind, code) {
        (1, 0 | 2) => Code::Network,
        (1, 1 | 5 | 6) => Code::Prohibited,
        (1, 3) => Code::Host,
        (1, 4) => Code::Port,
        (3, 0) => Code::HopLimit,
        (4, 1) => Code::Protocol,
        _ => return None,
    })
}

/// Our outer headers have no options, and are in one piece.
fn of_ipv4(code: Code, packet: &[u8]) -> Option<Unreachable> {
    let (header, payload) = packet.split_first_chunk::<20>()?;
    let [0x45, _, _, _, _, _, 0x40, 0, _, protocol, _, _, a, b, c, d, e, f, g, h] = *header else {
        return None;
    };
    let [ours, backend] = [Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h)];
    let tunnel = tunnel(protocol, payload)?;
    let inner = inner::destination(tunnel, payload);
    Some(Unreachable { ours: ours.into(), backend: backend.into(), tunnel, inner, code })
}

/// Our outer headers have no extension headers.
fn of_ipv6(code: Code, packet: &[u8]) -> Option<Unreachable> {
    let (header, payload) = packet.split_first_chunk::<40>()?;
    let address = |start: usize| header[start..].first_chunk().copied().map(Ipv6Addr::from_octets);
    let tunnel = tunnel(header[6], payload)?;
    let inner = inner::destination(tunnel, payload);
    let [ours, backend] = [address(8)?, address(24)?];
    Some(Unreachable { ours: ours.into(), backend: backend.into(), tunnel, inner, code })
}

fn tunnel(protocol: u8, payload: &[u8]) -> Option<Tunnel> {
    // Every error quotes so many bytes behind the IP header at least: RFC 792.
    let [first, _, high, low, ..] = payload.first_chunk::<8>()?;
    match (protocol, first >> 4) {
        (IP_IN_IP, 4) | (IPV6_IN_IP, 6) => Some(Tunnel::Ipip),
        (UDP, _) => Some(Tunnel::Udp(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// Numbers of the protocols IPv4 and IPv6 in a tunnel.
const IP_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: [u8; 4] = [10, 1, 255, 1];
    const BACKEND: [u8; 4] = [10, 1, 0, 7];
    const INNER: [u8; 8] = [0x45, 0, 0, 40, 0, 0, 0x40, 0];
    const INNER_IPV6: [u8; 8] = [0x60, 0, 0, 0, 0, 20, 6, 64];
    const DATAGRAM: [u8; 8] = [0xc0, 0x01, 0x17, 0xc0, 0, 60, 0, 0];

    fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let start = [0x45, 0, 0, 60, 0, 0, 0x40, 0, 63, protocol, 0xab, 0xcd];
        [&start[..], &OURS, &BACKEND, payload].concat()
    }

    fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let address = |last| Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last).octets();
        [&[0x60, 1, 2, 3, 0, 60, protocol, 63][..], &address(9), &address(7), payload].concat()
    }

    fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat()
    }

    #[test]
    fn a_tunnel_is_known_by_its_outer_header() {
        let [ours, backend] = [OURS, BACKEND].map(IpAddr::from);
        for (protocol, payload, tunnel) in [
            (4, INNER, Tunnel::Ipip),
            (41, INNER_IPV6, Tunnel::Ipip),
            (17, DATAGRAM, Tunnel::Udp(6080)),
        ] {
            let found = quoted_backend(&error(3, 1, &ipv4(protocol, &payload)));
            assert_eq!(
                found,
                Some(Unreachable { ours, backend, tunnel, inner: None, code: Code::Host })
            );
            let found = quoted_backend(&error(1, 3, &ipv6(protocol, &payload))).expect("a tunnel");
            assert_eq!((found.tunnel, found.code), (tunnel, Code::Host));
            assert_eq!(found.ours, "fd00:1::9".parse::<IpAddr>().expect("an address"));
            assert_eq!(found.backend, "fd00:1::7".parse::<IpAddr>().expect("an address"));
        }
    }

    #[test]
    fn codes_say_the_same_in_both_families() {
        let [ipv4, ipv6] = [ipv4(4, &INNER), ipv6(4, &INNER)];
        let code = |kind, code, quoted: &[u8]| {
            quoted_backend(&error(kind, code, quoted)).map(|found| found.code)
        };
        for (expected, [kind, number], [kind_ipv6, number_ipv6]) in [
            (Some(Code::Network), [3, 0], [1, 0]),
            (Some(Code::Host), [3, 1], [1, 3]),
            (Some(Code::Protocol), [3, 2], [4, 1]),
            (Some(Code::Port), [3, 3], [1, 4]),
            (Some(Code::Prohibited), [3, 13], [1, 1]),
            (Some(Code::HopLimit), [11, 0], [3, 0]),
            // Too big, too slow to put together, source quench and redirect: not the backend's fault.
            (None, [3, 4], [2, 0]),
            (None, [11, 1], [3, 1]),
            (None, [4, 0], [4, 0]),
            (None, [5, 1], [137, 0]),
        ] {
            assert_eq!(code(kind, number, &ipv4), expected, "{kind} {number}");
            assert_eq!(code(kind_ipv6, number_ipv6, &ipv6), expected, "{kind_ipv6} {number_ipv6}");
        }
    }

    #[test]
    fn what_we_did_not_send_is_no_tunnels() {
        // TCP, an echo request, and what is not the packet that the protocol promises.
        for (protocol, payload) in
            [(6, INNER), (1, INNER), (4, INNER_IPV6), (41, INNER), (4, [0; 8])]
        {
            assert_eq!(quoted_backend(&error(3, 1, &ipv4(protocol, &payload))), None, "{protocol}");
            assert_eq!(quoted_backend(&error(1, 3, &ipv6(protocol, &payload))), None, "{protocol}");
        }
        // Options, a fragment, may be fragmented.
        for (at, byte) in [(0, 0x46), (7, 1), (6, 0x60), (6, 0)] {
            let mut packet = ipv4(4, &INNER);
            packet[at] = byte;
            assert_eq!(quoted_backend(&error(3, 1, &packet)), None, "{at} {byte:#x}");
        }
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        for whole in [error(3, 1, &ipv4(17, &DATAGRAM)), error(1, 3, &ipv6(4, &INNER))] {
            assert!(quoted_backend(&whole).is_some());
            for length in 0..whole.len() {
                assert_eq!(quoted_backend(&whole[..length]), None, "{length}");
            }
            assert!(quoted_backend(&[&whole[..], &[0xee; 500]].concat()).is_some());
        }
    }
}
