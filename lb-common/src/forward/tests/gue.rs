//! GUE's headers.

use super::*;
use crate::{
    forward,
    service::{ICMP, ICMPV6, TCP},
    testing::{address, icmp, sealed, segment_sum, tcp, with_extensions, with_options, with_piece},
};

const FLOW: u64 = 0xabcd_1234_5678_9abc;
/// Bits 20 to 35 of the flow, among the dynamic ports.
const SOURCE_PORT: u16 = 0x4567 | 0xc000;
const OUTER: [(&str, &str); 2] = [("10.1.0.1", "10.1.255.1"), ("fd00:1::1", "fd00:1::ff")];

fn backend(outer: usize) -> Backend {
    testing::backend(Forward::Gue, OUTER[outer].0, OUTER[outer].1).at_port(6080)
}

/// A valid packet's frame.
fn packet(family: usize, protocol: u8, transport: &[u8]) -> Vec<u8> {
    sealed(&frame(FRAMES[family].0, FRAMES[family].1, protocol, transport))
}

#[test]
fn every_header_is_written_whole() {
    for family in [0, 1] {
        for outer in [0, 1] {
            let bytes = packet(family, UDP, &udp(1, 2, &[7; 5]));
            let out = encapsulated(&bytes, &backend(outer), FLOW);
            let udp = 14 + [20, 40][outer];
            let ip_protocol = out[[23, 20][outer]];
            assert_eq!(ip_protocol, UDP);
            assert_eq!(out.len() - bytes.len(), Forward::Gue.overhead(outer == 1) as usize);
            let length = (bytes.len() - 14 + 12) as u16;
            let fields = [SOURCE_PORT, 6080, length].map(u16::to_be_bytes);
            assert_eq!(out[udp..udp + 6], *fields.as_flattened());
            let inner = [IP_IN_IP, IPV6_IN_IP][family];
            assert_eq!(out[udp + 8..udp + 12], [0, inner, 0, 0], "variant 0, no options");
            assert_eq!(out[udp + 12..], bytes[14..]);
            if outer == 0 {
                assert_eq!(out[16..18], (length + 20).to_be_bytes());
                assert_eq!(checksum::sum(&out[14..34]), 0xffff);
                assert_eq!(out[udp + 6..udp + 8], [0, 0], "no checksum over IPv4");
            } else {
                assert_eq!(out[18..20], length.to_be_bytes());
            }
        }
    }
}

/// RFC 8200 section 8.1: over IPv6 a checksum is due.
#[test]
fn over_ipv6_the_checksum_is_valid_where_the_packet_has_one() {
    let echo = icmp(128, 0, [1, 2, 3, 4], &[9; 7]);
    for bytes in [
        packet(0, TCP, &[&tcp(1, 2, 16)[..], &[3; 9]].concat()),
        packet(1, TCP, &[&tcp(1, 2, 16)[..], &[3; 8]].concat()),
        packet(0, UDP, &udp(1, 2, &[5; 11])),
        packet(1, UDP, &udp(1, 2, &[5; 12])),
        packet(1, ICMPV6, &echo),
    ] {
        let out = encapsulated(&bytes, &backend(1), FLOW);
        assert_ne!(out[60..62], [0, 0], "{bytes:02x?}");
        assert_eq!(segment_sum(&out), 0xffff, "{bytes:02x?}");
    }
}

/// RFC 6935: else it is zero.
#[test]
fn over_ipv6_the_checksum_is_none_where_the_packet_has_none() {
    let udp_packet = |family| packet(family, UDP, &udp(1, 2, &[5; 24]));
    let without_checksum = |family: usize| {
        let mut bytes = udp_packet(family);
        let at = [34, 54][family] + 6;
        bytes[at..at + 2].fill(0);
        bytes
    };
    let shorter_than_its_packet = {
        let mut bytes = udp_packet(0);
        bytes[39] -= 1;
        bytes
    };
    for bytes in [
        without_checksum(0),
        without_checksum(1),
        shorter_than_its_packet,
        with_options(&udp_packet(0), &[1; 4]),
        with_piece(&udp_packet(0), 1, 0x2000),
        with_piece(&udp_packet(0), 1, 3),
        with_extensions(&udp_packet(1), &[(60, vec![0; 8])]),
    ] {
        let out = encapsulated(&bytes, &backend(1), FLOW);
        assert_eq!(out[60..62], [0, 0], "{bytes:02x?}");
    }
    let out = encapsulated(&echo_request(), &backend(1), FLOW);
    assert_eq!(out[60..62], [0, 0], "ICMP's does not cover the addresses");
}

fn echo_request() -> Vec<u8> {
    packet(0, ICMP, &icmp(8, 0, [1, 2, 3, 4], &[9; 7]))
}

/// Another backend of the outer family.
const OTHERS: [&str; 2] = ["10.1.0.2", "fd00:1::2"];

/// The mark that names it, as it stands in the frame.
fn mark_of_other(outer: usize) -> Vec<u8> {
    match address(OTHERS[outer]) {
        IpAddr::V4(other) => [&b"lb\x01\x04"[..], &other.octets()].concat(),
        IpAddr::V6(other) => [&b"lb\x01\x06"[..], &other.octets()].concat(),
    }
}

fn marked(bytes: &[u8], outer: usize) -> Vec<u8> {
    let other = testing::backend(Forward::Gue, OTHERS[outer], OUTER[outer].1);
    let mut frame = HostFrame::new(bytes);
    let seen = testing::seen(bytes).expect("a packet");
    let outgoing = Outgoing { packet: &seen.packet, flow: FLOW, tags: &seen.tags };
    forward::gue::encapsulate(&mut frame, &outgoing, &backend(outer), Some(&other))
        .expect("room for headers");
    frame.bytes().to_vec()
}

/// Nothing differs from the same packet without a mark but lengths, checksums and the words.
#[test]
fn a_mark_names_the_other_backend_in_words_of_its_own() {
    for (family, outer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let bytes = packet(family, TCP, &[&tcp(1, 2, 16)[..], &[3; 9]].concat());
        let mut expected = encapsulated(&bytes, &backend(outer), FLOW);
        let mark = mark_of_other(outer);
        let gue = 14 + [20, 40][outer] + 8;
        expected[gue] = [2, 5][outer];
        for at in [14 + [2, 4][outer], gue - 4] {
            expected[at + 1] += mark.len() as u8;
        }
        expected.splice(gue + 4..gue + 4, mark);
        let sums: &[usize] = if outer == 0 { &[24, 25] } else { &[gue - 2, gue - 1] };
        let out = marked(&bytes, outer);
        sums.iter().for_each(|at| expected[*at] = out[*at]);
        assert_eq!(out, expected, "{family} in {outer}");
        if outer == 0 {
            assert_eq!(checksum::sum(&out[14..34]), 0xffff);
        } else {
            assert_eq!(segment_sum(&out), 0xffff);
        }
    }
}

#[test]
fn a_marked_packet_without_a_checksum_has_none_outside() {
    let out = marked(&with_piece(&packet(0, TCP, &tcp(1, 2, 16)), 1, 0x2000), 1);
    assert_eq!(out[60..62], [0, 0]);
}

proptest! {
    /// A valid packet gets a valid checksum, a damaged one a wrong one: nothing hides damage.
    #[test]
    fn the_checksum_is_as_right_as_the_packets(
        flow in any::<u64>(),
        payload in prop::collection::vec(any::<u8>(), 0..64),
        ports in any::<(u16, u16)>(),
        family in 0_usize..2,
        protocol in prop::sample::select(vec![TCP, UDP]),
        damage in any::<Option<u8>>(),
    ) {
        let transport = match protocol {
            TCP => [&tcp(ports.0, ports.1, 16)[..], &payload].concat(),
            _ => udp(ports.0, ports.1, &payload),
        };
        let mut bytes = packet(family, protocol, &transport);
        let at = [34, 54][family];
        // Ports: lengths stay what they are.
        if let Some(bit) = damage {
            bytes[at + usize::from(bit % 4)] ^= 1 << (bit >> 5);
        }
        let out = encapsulated(&bytes, &backend(1), flow);
        let is_right = segment_sum(&out) == 0xffff;
        prop_assert_eq!(is_right, damage.is_none());
        prop_assert!(u16::from_be_bytes([out[54], out[55]]) >= 0xc000);
    }

    /// The bits that the flow's hash sets in the source address are in the checksums.
    #[test]
    fn a_spread_source_has_right_checksums(flow in any::<u64>(), outer in 0_usize..2) {
        let source = ["10.1.0.0", "fd00:1::"][outer];
        let tunnels = [Forward::Gue, Forward::Ipip];
        for forward in tunnels {
            let backend = testing::backend(forward, OUTER[outer].0, source);
            let backend = backend.at_port(6080).spread(0x00ff);
            let out = encapsulated(&packet(1, UDP, &udp(1, 2, &[])), &backend, flow);
            let last = [29, 37][outer];
            prop_assert_eq!(out[last], (flow >> 44) as u8);
            prop_assert_eq!(out[last - 1], 0);
            if outer == 0 {
                prop_assert_eq!(checksum::sum(&out[14..34]), 0xffff);
            } else if forward == Forward::Gue {
                prop_assert_eq!(segment_sum(&out), 0xffff);
            }
        }
    }
}
