//! What is written before packets, byte by byte.

mod gue;

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{
    backend::Backend,
    checksum,
    host::HostFrame,
    send::Outgoing,
    service::UDP,
    testing::{self, encapsulate, frame, udp},
};

const FRAMES: [(&str, &str); 2] = [("198.51.100.7", "10.200.0.1"), ("2001:db8::7", "fd00:200::1")];

/// The frame of a packet in a tunnel. The room before it is poisoned.
fn encapsulated(bytes: &[u8], backend: &Backend, flow: u64) -> Vec<u8> {
    let mut frame = HostFrame::new(bytes);
    encapsulate(&mut frame, backend, flow).expect("room for headers");
    frame.bytes().to_vec()
}

#[test]
fn numbers_name_ways() {
    for forward in [Forward::L2, Forward::Ipip, Forward::Gue, Forward::Nat] {
        assert_eq!(Forward::from_number(forward as u8), Some(forward));
    }
    assert_eq!(Forward::from_number(0), None);
    assert_eq!(Forward::from_number(5), None);
}

#[test]
fn l2_changes_twelve_bytes() {
    let bytes = frame(FRAMES[0].0, FRAMES[0].1, UDP, &udp(1, 2, &[0; 9]));
    let mut frame = HostFrame::new(&bytes);
    let backend = testing::backend(Forward::L2, "10.1.0.1", "10.1.255.1");
    assert_eq!(rewrite_link(&mut frame, backend.link()), Some(()));
    assert_eq!(frame.bytes()[..12], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4]);
    assert_eq!(frame.bytes()[12..], bytes[12..]);
    assert_eq!(Forward::L2.overhead(true), 0);
}

#[test]
fn an_outer_ipv4_header_is_written_whole() {
    let backend = testing::backend(Forward::Ipip, "10.1.0.1", "10.1.255.1");
    for ((client, vip), protocol) in FRAMES.into_iter().zip([IP_IN_IP, IPV6_IN_IP]) {
        let mut bytes = frame(client, vip, UDP, &udp(1, 2, &[]));
        if protocol == IP_IN_IP {
            bytes[15] = 0xb9;
        } else {
            (bytes[14], bytes[15]) = (0x6b, 0x90);
        }
        let out = encapsulated(&bytes, &backend, 0);
        let length = (bytes.len() - 14 + 20) as u8;
        assert_eq!(out[..14], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, 8, 0]);
        let header = [0x45, 0xb9, 0, length, 0, 0, 0x40, 0, 64, protocol];
        assert_eq!(out[14..24], header);
        assert_eq!(out[26..34], [10, 1, 255, 1, 10, 1, 0, 1]);
        assert_eq!(checksum::sum(&out[14..34]), 0xffff, "a valid checksum");
        assert_eq!(out[34..], bytes[14..]);
        assert_eq!(Forward::Ipip.overhead(false) as usize, out.len() - bytes.len());
    }
}

#[test]
fn an_outer_ipv6_header_is_written_whole() {
    let backend = testing::backend(Forward::Ipip, "fd00:1::1", "fd00:1::ff");
    for ((client, vip), protocol) in FRAMES.into_iter().zip([IP_IN_IP, IPV6_IN_IP]) {
        let mut bytes = frame(client, vip, UDP, &udp(1, 2, &[]));
        if protocol == IP_IN_IP {
            bytes[15] = 0xb9;
        } else {
            (bytes[14], bytes[15]) = (0x6b, 0x90);
        }
        let out = encapsulated(&bytes, &backend, 0xabcd_1234_5678_9abc);
        assert_eq!(out[..14], [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4, 0x86, 0xdd]);
        let length = (bytes.len() - 14) as u8;
        // Bits 20 to 39 of the hash are the flow label.
        let header = [0x6b, 0x93, 0x45, 0x67, 0, length, protocol, 64];
        assert_eq!(out[14..22], header);
        let (mut source, mut destination) = ([0; 16], [0; 16]);
        source[..4].copy_from_slice(&[0xfd, 0, 0, 1]);
        destination[..4].copy_from_slice(&[0xfd, 0, 0, 1]);
        (source[15], destination[15]) = (0xff, 1);
        assert_eq!(out[22..54], [source, destination].concat());
        assert_eq!(out[54..], bytes[14..]);
        assert_eq!(Forward::Ipip.overhead(true) as usize, out.len() - bytes.len());
    }
}

#[test]
fn bytes_behind_the_packet_are_not_counted() {
    let bytes = frame(FRAMES[0].0, FRAMES[0].1, UDP, &udp(1, 2, &[]));
    let padded = [&bytes[..], &[0xee; 18]].concat();
    for backend in ["10.1.0.1", "fd00:1::1"] {
        let source = if backend.contains(':') { "fd00::2" } else { "10.1.0.2" };
        let backend = testing::backend(Forward::Ipip, backend, source);
        let (out, padded) = (encapsulated(&bytes, &backend, 7), encapsulated(&padded, &backend, 7));
        assert_eq!(padded, [&out[..], &[0xee; 18]].concat());
    }
}

#[test]
fn a_frame_without_room_is_refused() {
    let bytes = frame(FRAMES[0].0, FRAMES[0].1, UDP, &udp(1, 2, &[]));
    let mut frame = HostFrame::new(&bytes);
    let seen = testing::seen(&bytes).expect("a packet");
    let outgoing = Outgoing { packet: &seen.packet, flow: 0, tags: &seen.tags };
    // The room before a frame is 256 bytes: twelve headers fit, a thirteenth does not.
    let backend = testing::backend(Forward::Ipip, "10.1.0.1", "10.1.255.1");
    for _ in 0..12 {
        assert!(ipip::encapsulate(&mut frame, &outgoing, &backend).is_some());
    }
    assert!(ipip::encapsulate(&mut frame, &outgoing, &backend).is_none());
}

proptest! {
    #[test]
    fn the_outer_checksum_is_always_valid(
        destination in any::<[u8; 4]>(),
        source in any::<[u8; 4]>(),
        class in any::<u8>(),
        payload in 0_usize..1400,
        family in 0_usize..2,
    ) {
        let (destination, source) = (IpAddr::from(destination), IpAddr::from(source));
        let backend = Backend::new(0, 1, Forward::Ipip, destination.into(), source.into());
        let (client, vip) = FRAMES[family];
        let mut bytes = frame(client, vip, UDP, &udp(1, 2, &vec![0; payload]));
        if family == 0 {
            bytes[15] = class;
        } else {
            bytes[14] |= class >> 4;
            bytes[15] = class << 4;
        }
        let out = encapsulated(&bytes, &backend, 0);
        prop_assert_eq!(checksum::sum(&out[14..34]), 0xffff);
        prop_assert_eq!(out[15], class);
    }
}
