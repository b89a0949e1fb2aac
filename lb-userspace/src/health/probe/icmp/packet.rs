//! Echo messages as bytes (RFC 792, RFC 4443). Pure.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use nix::errno::Errno;

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was answered, after so long.
    Reply(Duration),
    /// It could not be delivered.
    Unreachable(Errno),
}

/// What tells a request from all others.
pub(super) type Token = [u8; TOKEN];

/// Bytes of a token.
pub(super) const TOKEN: usize = 16;

/// A message about one of our requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Where the request went.
    pub(super) remote: IpAddr,
    /// The identifier that it had.
    pub(super) id: u16,
    /// The sequence number that it had.
    pub(super) sequence: u16,
    /// Its token, as far as the message shows it.
    pub(super) token: Option<Token>,
    /// Why it could not be delivered; `None` if this is the reply.
    pub(super) errno: Option<Errno>,
}

/// Bytes of a request.
pub(super) const REQUEST: usize = HEADER + TOKEN;

const HEADER: usize = 8;

/// An echo request. The kernel adds the checksum of ICMPv6, as it knows the addresses.
pub(super) fn request(family: Family, id: u16, sequence: u16, token: &Token) -> [u8; REQUEST] {
    let mut packet = [0; REQUEST];
    packet[0] = Types::of(family).request;
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[HEADER..].copy_from_slice(token);
    if family == Family::V4 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// What an ICMP message from `from` says about a request; `None` if it is about none.
pub(super) fn parse(family: Family, message: &[u8], from: IpAddr) -> Option<Answer> {
    let (&kind, &code) = (message.first()?, message.get(1)?);
    let types = Types::of(family);
    if kind == types.reply {
        return echo(message, types.reply, from, None);
    }
    let errno = unreachable(family, kind, code)?;
    let (to, inner) = quoted(family, message.get(HEADER..)?)?;
    echo(inner, types.request, to, Some(errno))
}

/// An IPv4 packet without its header, as raw sockets have one.
pub(super) fn behind_ipv4(packet: &[u8]) -> Option<&[u8]> {
    let words = packet.first()? & 15;
    packet.get(usize::from(words) * 4..)
}

struct Types {
    request: u8,
    reply: u8,
}

impl Types {
    const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self { request: 8, reply: 0 },
            Family::V6 => Self { request: 128, reply: 129 },
        }
    }
}

fn echo(message: &[u8], kind: u8, remote: IpAddr, errno: Option<Errno>) -> Option<Answer> {
    let (header, rest) = message.split_first_chunk::<HEADER>()?;
    if header[..2] != [kind, 0] {
        return None;
    }
    Some(Answer {
        remote,
        id: u16::from_be_bytes([header[4], header[5]]),
        sequence: u16::from_be_bytes([header[6], header[7]]),
        token: rest.first_chunk().copied(),
        errno,
    })
}

/// Errors mean what they mean to other sockets of Linux. "Fragmentation needed" and "packet too
/// big" say nothing about reaching a host.
fn unreachable(family: Family, kind: u8, code: u8) -> Option<Errno> {
    match (family, kind, code) {
        (Family::V4, 3, 4) => None,
        (Family::V4, 3, 0 | 6 | 9 | 11) | (Family::V6, 1, 0) => Some(Errno::ENETUNREACH),
        (Family::V4, 3, 2) => Some(Errno::ENOPROTOOPT),
        (Family::V4, 3 | 11, _) | (Family::V6, 1 | 3, _) => Some(Errno::EHOSTUNREACH),
        _ => None,
    }
}

/// Where the packet that an error quotes went, and what is left of its ICMP message.
fn quoted(family: Family, packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    const ICMP: u8 = 1;
    const ICMPV6: u8 = 58;

    match family {
        Family::V4 => {
            let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
            let inner = behind_ipv4(packet).filter(|_| packet[9] == ICMP)?;
            Some((IpAddr::V4(Ipv4Addr::from(to)), inner))
        }
        Family::V6 => {
            let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
            let inner = packet.get(40..).filter(|_| packet[6] == ICMPV6)?;
            Some((IpAddr::V6(Ipv6Addr::from(to)), inner))
        }
    }
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN_A: Token = *b"0123456789abcdef";

    fn from() -> IpAddr {
        "192.0.2.1".parse().expect("address")
    }

    /// The IPv4 packet of a request, as an error quotes it.
    fn sent_v4(to: [u8; 4], protocol: u8, options: usize) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x40 | (5 + options as u8 / 4);
        packet[9] = protocol;
        packet[16..20].copy_from_slice(&to);
        packet.extend(request(Family::V4, 7, 9, &TOKEN_A));
        packet
    }

    fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat()
    }

    #[test]
    fn requests_have_a_right_checksum() {
        let packet = request(Family::V4, 0x1234, 0xfffe, &TOKEN_A);
        assert_eq!(packet[..2], [8, 0]);
        assert_eq!(packet[4..8], [0x12, 0x34, 0xff, 0xfe]);
        // Over a message with its checksum, it comes out as nothing.
        assert_eq!(checksum(&packet), 0);
        assert_ne!(packet[2..4], [0, 0]);
    }

    #[test]
    fn replies_are_understood() {
        for (family, reply) in [(Family::V4, 0), (Family::V6, 129)] {
            let mut packet = request(family, 7, 9, &TOKEN_A);
            // Our own request, as the loopback interface brings it.
            assert_eq!(parse(family, &packet, from()), None);
            packet[0] = reply;
            let token = Some(TOKEN_A);
            let expected = Answer { remote: from(), id: 7, sequence: 9, token, errno: None };
            assert_eq!(parse(family, &packet, from()), Some(expected));
            let cut = parse(family, &packet[..23], from()).expect("a reply");
            assert_eq!(cut.token, None);
            assert_eq!(parse(family, &packet[..7], from()), None);
        }
    }

    #[test]
    fn errors_are_about_the_packet_that_they_quote() {
        for options in [0, 4, 40] {
            let packet = error(3, 1, &sent_v4([198, 51, 100, 7], 1, options));
            let answer = parse(Family::V4, &packet, from()).expect("ours");
            assert_eq!(answer.remote, "198.51.100.7".parse::<IpAddr>().expect("address"));
            assert_eq!((answer.id, answer.sequence), (7, 9));
            assert_eq!(answer.token, Some(TOKEN_A));
            assert_eq!(answer.errno, Some(Errno::EHOSTUNREACH));
        }
        // As little as a router must quote.
        let packet = error(3, 0, &sent_v4([198, 51, 100, 7], 1, 0)[..28]);
        let answer = parse(Family::V4, &packet, from()).expect("ours");
        assert_eq!((answer.token, answer.errno), (None, Some(Errno::ENETUNREACH)));
        for packet in [
            error(3, 1, &sent_v4([198, 51, 100, 7], 6, 0)),
            error(3, 4, &sent_v4([198, 51, 100, 7], 1, 0)),
            error(5, 1, &sent_v4([198, 51, 100, 7], 1, 0)),
            error(3, 1, &sent_v4([198, 51, 100, 7], 1, 0)[..27]),
        ] {
            assert_eq!(parse(Family::V4, &packet, from()), None, "{packet:?}");
        }
    }

    #[test]
    fn errors_of_ipv6_are_understood() {
        let to = "2001:db8::7".parse::<Ipv6Addr>().expect("address");
        let mut sent = vec![0; 40];
        sent[6] = 58;
        sent[24..40].copy_from_slice(&to.octets());
        sent.extend(request(Family::V6, 7, 9, &TOKEN_A));
        let answer = parse(Family::V6, &error(1, 3, &sent), from()).expect("ours");
        assert_eq!((answer.remote, answer.errno), (IpAddr::V6(to), Some(Errno::EHOSTUNREACH)));
        assert_eq!(parse(Family::V6, &error(2, 0, &sent), from()), None, "packet too big");
        sent[6] = 17;
        assert_eq!(parse(Family::V6, &error(1, 3, &sent), from()), None, "of UDP");
    }

    proptest! {
        #[test]
        fn nothing_panics(
            is_v6: bool,
            kind in prop::sample::select(vec![0_u8, 1, 3, 11, 129]),
            mut packet in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            if let Some(first) = packet.first_mut() {
                *first = kind;
            }
            let family = if is_v6 { Family::V6 } else { Family::V4 };
            let _ = (parse(family, &packet, from()), behind_ipv4(&packet));
        }
    }
}
