//! Whose a packet is that came out of the device.

use std::net::IpAddr;

use crate::{health::CheckFlow, model::Protocol};

/// Between which ends packets travel, by which protocol. A socket that is open has its own, which no
/// other can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    protocol: u8,
    from: (IpAddr, u16),
    to: (IpAddr, u16),
}

impl Ends {
    /// Those of what a check's socket sends.
    pub(super) const fn of_check(flow: &CheckFlow) -> Self {
        let CheckFlow { protocol, local, remote, .. } = flow;
        Self {
            protocol: protocol.number(),
            from: (local.ip(), local.port()),
            to: (remote.ip(), remote.port()),
        }
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
        let from: [u8; 4] = *header[12..].first_chunk()?;
        let to: [u8; 4] = *header[16..].first_chunk()?;
        let length = usize::from(header[0] & 0xf) * 4;
        let segment = packet.get(length.max(header.len())..)?;
        Self::behind(from.into(), to.into(), header[9], segment)
    }

    fn of_ipv6(packet: &[u8]) -> Option<Self> {
        let (header, segment) = packet.split_first_chunk::<40>()?;
        let from: [u8; 16] = *header[8..].first_chunk()?;
        let to: [u8; 16] = *header[24..].first_chunk()?;
        Self::behind(from.into(), to.into(), header[6], segment)
    }

    fn behind(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> Option<Self> {
        let is_known = [Protocol::Tcp, Protocol::Udp].map(Protocol::number).contains(&protocol);
        let [a, b, c, d] = *segment.first_chunk()?;
        let (from, to) = ((from, u16::from_be_bytes([a, b])), (to, u16::from_be_bytes([c, d])));
        is_known.then_some(Self { protocol, from, to })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn ends(protocol: Protocol, [local, remote]: [&str; 2]) -> Option<Ends> {
        let [local, remote] = [local, remote].map(|end| end.parse().expect("address and port"));
        Some(Ends::of_check(&CheckFlow { protocol, local, remote, lasts: Duration::ZERO }))
    }

    #[test]
    fn finds_the_socket_that_sent_it() {
        const DO_NOT_FRAGMENT: [u8; 2] = [0x40, 0];
        let ipv4_ends = ["10.0.0.1:4660", "192.0.2.1:80"];
        let ipv6_ends = ["[fd00::1]:4660", "[2020:2020:2020:2020:2020:2020:2020:2020]:80"];
        for (packet, expected) in [
            (ipv4(6, [0; 2], 0), ends(Protocol::Tcp, ipv4_ends)),
            (ipv4(17, DO_NOT_FRAGMENT, 0), ends(Protocol::Udp, ipv4_ends)),
            (ipv4(6, DO_NOT_FRAGMENT, 8), ends(Protocol::Tcp, ipv4_ends)),
            (ipv6(6), ends(Protocol::Tcp, ipv6_ends)),
            (ipv6(17), ends(Protocol::Udp, ipv6_ends)),
        ] {
            assert_eq!(Ends::of(&packet), expected, "{packet:?}");
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
            // Without the whole of the ports.
            ipv6(6)[..43].to_vec(),
        ] {
            assert_eq!(Ends::of(&packet), None, "{packet:?}");
        }
    }
}
