use proptest::prelude::*;

use super::*;
use crate::{
    host::HostFrame,
    service::{TCP, UDP},
    testing::{self, ACK, SYN, frame, key, udp, words},
};

const CLIENTS: [&str; 2] = ["198.51.100.7", "2001:db8::7"];
const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];

fn parse(bytes: &[u8]) -> Result<Packet, Verdict> {
    let frame = HostFrame::new(bytes);
    match frame.header::<Ethernet>(0).map(Ethernet::ether_type) {
        Some(Ethernet::IPV4) => ipv4(&frame),
        _ => ipv6(&frame),
    }
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
fn options_move_the_transport_header() {
    let [plain, _] = frames(UDP, &udp(9, 53, b"?"));
    for words in 1..=10_u8 {
        let mut bytes = plain.clone();
        bytes[14] += words;
        bytes[17] += words * 4;
        bytes.splice(34..34, vec![1; usize::from(words) * 4]);
        let packet = parse(&bytes).expect("a packet");
        assert_eq!(packet.key, key(VIPS[0], 53, UDP), "{words} words");
        assert!(is_well_formed(&bytes));
    }
}

#[test]
fn headers_that_are_no_packet_have_a_reason() {
    let set = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        parse(&bytes).expect_err("no packet")
    };
    let [ipv4, ipv6] = frames(TCP, &testing::tcp(1, 2, ACK));
    assert_eq!(set(&ipv4, 14, 0x44), Verdict::NotIp);
    assert_eq!(set(&ipv4, 14, 0x65), Verdict::NotIp);
    assert_eq!(set(&ipv6, 14, 0x45), Verdict::NotIp);
    assert_eq!(set(&ipv4, 20, 0x20), Verdict::Fragment);
    assert_eq!(set(&ipv4, 21, 1), Verdict::Fragment);
    assert_eq!(set(&ipv4, 23, 1), Verdict::NotTransport);
    assert_eq!(set(&ipv6, 20, 58), Verdict::NotTransport);
    for extension in EXTENSION_HEADERS {
        assert_eq!(set(&ipv6, 20, extension), Verdict::ExtensionHeader);
    }
}

#[test]
fn a_frame_that_ends_before_the_transport_header_is_truncated() {
    for (protocol, transport) in [(TCP, testing::tcp(1, 2, SYN)), (UDP, udp(1, 2, &[]))] {
        for bytes in frames(protocol, &transport) {
            for length in Ethernet::LEN..bytes.len() {
                let verdict = parse(&bytes[..length]).expect_err("cut");
                assert_eq!(verdict, Verdict::Truncated, "{length} bytes");
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
        protocol in prop::sample::select(vec![TCP, UDP, 0, 44]),
    ) {
        let ipv6 = first == 0x60;
        bytes[12..14].copy_from_slice(if ipv6 { &[0x86, 0xdd] } else { &[8, 0] });
        if let Some(byte) = bytes.get_mut(14) {
            *byte = first;
        }
        if let Some(byte) = bytes.get_mut(if ipv6 { 20 } else { 23 }) {
            *byte = protocol;
        }
        if let Ok(packet) = parse(&bytes)
            && packet.is_well_formed(&HostFrame::new(&bytes))
        {
            prop_assert!(packet.length as usize + Ethernet::LEN <= bytes.len());
            let least = if ipv6 { 48 } else { 28 };
            prop_assert!(packet.claimed >= least);
        }
    }
}
