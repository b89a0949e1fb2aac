//! What is read of packets: the plain ones here, all others in the modules.

mod extension;
mod options;
mod outline;
mod quote;
mod seen;

use proptest::prelude::*;

use super::*;
use crate::{
    host::HostFrame,
    service::{TCP, UDP},
    testing::{self, ACK, SYN, frame, key, udp, words},
};

const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];

fn parse(bytes: &[u8]) -> Option<Packet> {
    let frame = HostFrame::new(bytes);
    match frame.header::<Ethernet>(0).map(Ethernet::ether_type) {
        Some(Ethernet::IPV4) => ipv4(&frame),
        _ => ipv6(&frame),
    }
}

/// A packet in all that both ways know of it.
fn all_of(packet: &Packet) -> impl PartialEq + std::fmt::Debug + use<> {
    let Packet { key, age, length, traffic_class, hop_limit, ipv6, layout, claimed, .. } = *packet;
    let client = (packet.client(), packet.client_port());
    (key, age, length, traffic_class, hop_limit, ipv6, layout, claimed, client)
}

fn is_well_formed(bytes: &[u8]) -> bool {
    parse(bytes).expect("a packet").is_well_formed(&HostFrame::new(bytes))
}

/// One frame of each family.
fn frames(protocol: u8, transport: &[u8]) -> [Vec<u8>; 2] {
    [0, 1].map(|family| frame(CLIENTS[family], VIPS[family], protocol, transport))
}

#[test]
fn the_key_is_destination_port_and_protocol() {
    for family in [0, 1] {
        let bytes = frame(CLIENTS[family], VIPS[family], UDP, &udp(9, 53, b"?"));
        let packet = parse(&bytes).expect("a packet");
        assert_eq!(packet.key, key(VIPS[family], 53, UDP));
        assert_eq!(packet.ipv6, family == 1);
        assert_eq!(packet.length as usize, bytes.len() - Ethernet::LEN);
    }
}

#[test]
fn only_a_lone_syn_begins_a_flow() {
    for flags in 0..=255 {
        for bytes in frames(TCP, &testing::tcp(1, 2, flags)) {
            let expected = if flags & (SYN | ACK) == SYN { Age::Begins } else { Age::Continues };
            assert_eq!(parse(&bytes).expect("a packet").age, expected, "{flags:#x}");
        }
    }
    for bytes in frames(UDP, &udp(1, 2, &[])) {
        assert_eq!(parse(&bytes).expect("a packet").age, Age::Unknown);
    }
}

#[test]
fn the_traffic_class_is_read_whole() {
    for class in 0..=255_u8 {
        let [mut ipv4, mut ipv6] = frames(UDP, &udp(1, 2, &[]));
        ipv4[15] = class;
        ipv6[14] = 6 << 4 | class >> 4;
        // The flow label beside it is no part of it.
        ipv6[15] = class << 4 | 0xf;
        for bytes in [ipv4, ipv6] {
            assert_eq!(parse(&bytes).expect("a packet").traffic_class, class);
        }
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_uncommon_way() {
    let set = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        parse(&bytes).is_none()
    };
    let [ipv4, ipv6] = frames(TCP, &testing::tcp(1, 2, ACK));
    for first in [0x44, 0x46, 0x4f, 0x65] {
        assert!(set(&ipv4, 14, first), "{first:#x}");
    }
    assert!(set(&ipv6, 14, 0x45));
    assert!(set(&ipv4, 20, 0x20) && set(&ipv4, 21, 1), "fragments");
    for protocol in [0, 1, 43, 44, 51, 58, 60, 135, 139, 140] {
        assert!(set(&ipv4, 23, protocol) && set(&ipv6, 20, protocol), "{protocol}");
    }
}

#[test]
fn both_ways_read_the_same() {
    for (protocol, transport) in [(TCP, testing::tcp(1, 2, SYN)), (UDP, udp(1, 2, &[7; 9]))] {
        for bytes in frames(protocol, &transport) {
            let seen = testing::seen(&bytes).expect("a packet");
            assert_eq!((seen.kind, seen.flaw), (Kind::Whole, None));
            assert_eq!(all_of(&seen.packet), all_of(&parse(&bytes).expect("a packet")));
        }
    }
}

#[test]
fn a_frame_that_ends_before_the_transport_header_is_not_plain() {
    for (protocol, transport) in [(TCP, testing::tcp(1, 2, SYN)), (UDP, udp(1, 2, &[]))] {
        for bytes in frames(protocol, &transport) {
            for length in Ethernet::LEN..bytes.len() {
                assert!(parse(&bytes[..length]).is_none(), "{length} bytes");
            }
        }
    }
}

#[test]
fn lengths_must_fit_each_other_and_the_frame() {
    for bytes in frames(TCP, &[&testing::tcp(1, 2, ACK)[..], &[0; 4]].concat()) {
        let data_offset = bytes.len() - 12;
        assert!(is_well_formed(&bytes));
        assert!(is_well_formed(&[&bytes[..], &[0; 9]].concat()), "padding");
        assert!(!is_well_formed(&bytes[..bytes.len() - 1]));
        for (words, expected) in [(0, false), (4, false), (5, true), (6, true), (7, false)] {
            let mut bytes = bytes.clone();
            bytes[data_offset] = words << 4;
            assert_eq!(is_well_formed(&bytes), expected, "{words} words");
        }
    }
    for bytes in frames(UDP, &udp(1, 2, &[0; 4])) {
        let length = bytes.len() - 7;
        for (value, expected) in [(0, false), (7, false), (8, true), (12, true), (13, false)] {
            let mut bytes = bytes.clone();
            bytes[length] = value;
            assert_eq!(is_well_formed(&bytes), expected, "{value} bytes");
        }
    }
}

#[test]
fn a_question_about_a_flow_has_the_hash_of_its_packets() {
    let secret = HashKey::derive(b"question");
    for family in [0, 1] {
        let bytes = frame(CLIENTS[family], VIPS[family], TCP, &testing::tcp(7, 80, ACK));
        let packet = parse(&bytes).expect("a packet");
        let asked = Packet::of_flow(packet.key, words(CLIENTS[family]), 7);
        let destination = packet.key.hash(&secret);
        assert_eq!(asked.flow(&secret, destination), packet.flow(&secret, destination));
    }
}

proptest! {
    /// Whatever the bytes are: no panic, and what is well-formed lies within the frame.
    #[test]
    fn any_bytes_can_be_read(
        mut bytes in prop::collection::vec(any::<u8>(), 14..120),
        first in prop::sample::select(vec![0x45_u8, 0x46, 0x4f, 0x60]),
        protocol in prop::sample::select(vec![TCP, UDP, 0, 1, 43, 44, 51, 58]),
    ) {
        let ipv6 = first == 0x60;
        bytes[12..14].copy_from_slice(if ipv6 { &[0x86, 0xdd] } else { &[8, 0] });
        if let Some(byte) = bytes.get_mut(14) {
            *byte = first;
        }
        if let Some(byte) = bytes.get_mut(if ipv6 { 20 } else { 23 }) {
            *byte = protocol;
        }
        let _ = testing::seen(&bytes);
        if let Some(packet) = parse(&bytes)
            && packet.is_well_formed(&HostFrame::new(&bytes))
        {
            prop_assert!(packet.length as usize + Ethernet::LEN <= bytes.len());
            let least = if ipv6 { 48 } else { 28 };
            prop_assert!(packet.claimed >= least);
        }
    }
}
