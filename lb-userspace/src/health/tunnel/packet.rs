//! Whose a packet is that came out of the device.

use std::net::{IpAddr, SocketAddr};

use crate::model::Protocol;

/// What a socket of a check sends: its protocol, and the address and port that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sender {
    protocol: u8,
    address: IpAddr,
    port: u16,
}

impl Sender {
    pub(super) const fn new(protocol: Protocol, local: SocketAddr) -> Self {
        Self { protocol: protocol.number(), address: local.ip(), port: local.port() }
    }

    /// Reads a packet. `None` for all but TCP and UDP in one piece, and without extension headers,
    /// which the kernel does not write for sockets of checks.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::of_ipv4(packet),
            6 => Self::of_ipv6(packet),
            _ => None,
        }
    }

    fn of_ipv4(packet: &[u8]) -> Option<Self> {
        const FRAGMENT: u16 = 0x3fff;
        let header: &[u8; 20] = packet.first_chunk()?;
        if u16::from_be_bytes([header[6], header[7]]) & FRAGMENT != 0 {
            return None;
        }
        let address: [u8; 4] = *header[12..].first_chunk()?;
        let length = usize::from(header[0] & 0xf) * 4;
        let segment = packet.get(length.max(header.len())..)?;
        Self::behind(address.into(), header[9], segment)
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let (header, segment) = packet.split_first_chunk::<40>()?;
        let address: [u8; 16] = *header[8..].first_chunk()?;
        Self::behind(address.into(), header[6], segment)
    }

    fn behind(address: IpAddr, protocol: u8, segment: &[u8]) -> Option<Self> {
        let is_known = [Protocol::Tcp, Protocol::Udp].map(Protocol::number).contains(&protocol);
        let port = u16::from_be_bytes(*segment.first_chunk()?);
        is_known.then_some(Self { protocol, address, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet from port 0x1234 of 10.0.0.1.
    fn ipv4(protocol: u8, fragment: [u8; 2], options: usize) -> Vec<u8> {
        let mut packet = vec![0x45 + (options / 4) as u8, 0, 0, 0, 0, 0, fragment[0], fragment[1]];
        packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1]);
        packet.extend(vec![1; options]);
        packet.extend([0x12, 0x34, 0, 80, 9, 9, 9, 9]);
        packet
    }

    /// The same from fd00::1.
    fn ipv6(next: u8) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, next, 64];
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        packet.extend([0x20; 16]);
        packet.extend([0x12, 0x34, 0, 80, 9, 9, 9, 9]);
        packet
    }

    fn sender(protocol: Protocol, local: &str) -> Option<Sender> {
        Some(Sender::new(protocol, local.parse().expect("an address and port")))
    }

    #[test]
    fn finds_the_socket_that_sent_it() {
        const DO_NOT_FRAGMENT: [u8; 2] = [0x40, 0];
        let local = "10.0.0.1:4660";
        for (packet, expected) in [
            (ipv4(6, [0; 2], 0), sender(Protocol::Tcp, local)),
            (ipv4(17, DO_NOT_FRAGMENT, 0), sender(Protocol::Udp, local)),
            (ipv4(6, DO_NOT_FRAGMENT, 8), sender(Protocol::Tcp, local)),
            (ipv6(6), sender(Protocol::Tcp, "[fd00::1]:4660")),
            (ipv6(17), sender(Protocol::Udp, "[fd00::1]:4660")),
        ] {
            assert_eq!(Sender::of(&packet), expected, "{packet:?}");
        }
    }

    #[test]
    fn leaves_alone_what_no_check_sends() {
        for packet in [
            vec![],
            vec![0x45],
            vec![0x55; 60],
            ipv4(1, [0; 2], 0),
            // First and later fragments.
            ipv4(17, [0x20, 0], 0),
            ipv4(17, [0, 185], 0),
            ipv4(17, [0x1f, 0], 0),
            ipv4(6, [0; 2], 0)[..20].to_vec(),
            ipv4(6, [0; 2], 8)[..28].to_vec(),
            ipv6(58),
            // Hop-by-hop, routing, fragment, destination options.
            ipv6(0),
            ipv6(43),
            ipv6(44),
            ipv6(60),
            ipv6(6)[..39].to_vec(),
            ipv6(6)[..40].to_vec(),
        ] {
            assert_eq!(Sender::of(&packet), None, "{packet:?}");
        }
    }
}
