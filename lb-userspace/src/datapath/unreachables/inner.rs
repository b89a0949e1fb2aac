//! Whom a packet in a tunnel was for, as far as an error quotes it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Tunnel;

/// The destination of the packet in a tunnel, of what follows the outer IP header. `None` if that
/// much is not quoted, or it is no packet.
pub(super) fn destination(tunnel: Tunnel, payload: &[u8]) -> Option<IpAddr> {
    let packet = match tunnel {
        Tunnel::Ipip => payload,
        Tunnel::Udp(_) => behind_gue(payload.get(UDP_HEADER..)?)?,
    };
    match packet.first()? >> 4 {
        4 => packet.get(16..)?.first_chunk().copied().map(|it| Ipv4Addr::from_octets(it).into()),
        6 => packet.get(24..)?.first_chunk().copied().map(|it| Ipv6Addr::from_octets(it).into()),
        _ => None,
    }
}

const UDP_HEADER: usize = 8;

/// What follows a GUE header of variant 0, draft-ietf-intarea-gue-09 section 3.1: two bits of variant,
/// one for control messages, and how many words follow the first one.
fn behind_gue(datagram: &[u8]) -> Option<&[u8]> {
    let first = *datagram.first()?;
    let is_data = first >> 5 == 0;
    if is_data { datagram.get(4 + usize::from(first & 0x1f) * 4..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_known_once_it_is_quoted() {
        let vip: IpAddr = "192.0.2.80".parse().expect("an address");
        let packet = [&[0x45; 16][..], &[192, 0, 2, 80], &[0; 20]].concat();
        let vip_ipv6: IpAddr = "2001:db8::80".parse().expect("an address");
        let octets = "2001:db8::80".parse::<Ipv6Addr>().expect("an address").octets();
        let packet_ipv6 = [&[0x60; 24][..], &octets].concat();
        let gue = |words: u8, packet: &[u8]| {
            let private = vec![0xab; usize::from(words) * 4];
            [&[0; 8][..], &[words, 4, 0, 0], &private, packet].concat()
        };
        for (tunnel, payload, vip, least) in [
            (Tunnel::Ipip, packet.clone(), vip, 20),
            (Tunnel::Ipip, packet_ipv6.clone(), vip_ipv6, 40),
            (Tunnel::Udp(6080), gue(0, &packet), vip, 32),
            (Tunnel::Udp(6080), gue(3, &packet), vip, 44),
            (Tunnel::Udp(6080), gue(3, &packet_ipv6), vip_ipv6, 64),
        ] {
            for length in 0..=payload.len() {
                let expected = (length >= least).then_some(vip);
                assert_eq!(
                    destination(tunnel, &payload[..length]),
                    expected,
                    "{tunnel:?} {length}"
                );
            }
        }
    }

    #[test]
    fn control_messages_and_other_variants_have_no_packet() {
        for first in [0x20, 0x40, 0x80] {
            let datagram = [&[0; 8][..], &[first, 4, 0, 0], &[0x45; 40]].concat();
            assert_eq!(destination(Tunnel::Udp(6080), &datagram), None, "{first:#x}");
        }
    }
}
