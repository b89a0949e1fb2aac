mod gue;
mod second_chance;

use std::{collections::BTreeSet, net::IpAddr};

use super::*;
use crate::{
    checksum,
    forward::Forward,
    host::{HostFrame, HostGate},
    service::UDP,
    testing::{self, address, encapsulate, frame, udp, with_tags, words},
};

const INNER: [(&str, &str); 2] = [("198.51.100.7", "10.200.0.1"), ("2001:db8::7", "fd00:200::1")];
const GUE_PORT: u16 = 6666;
/// The load balancer and the backend of each outer family.
const OUTER: [(&str, &str); 2] = [("10.1.255.1", "10.1.0.1"), ("fd00:1::ff", "fd00:1::1")];

fn gate() -> HostGate {
    let sources = OUTER.map(|(source, _)| words(source));
    let own = OUTER.map(|(_, backend)| words(backend));
    let targets = INNER.map(|(_, vip)| words(vip));
    HostGate {
        sources: sources.into(),
        own: own.into(),
        targets: targets.into(),
        gue_port: GUE_PORT,
        ..HostGate::default()
    }
}

/// A packet and the tunnelled frame of it.
fn tunnelled(inner: usize, outer: usize) -> (Vec<u8>, Vec<u8>) {
    tunnelled_by(Forward::Ipip, inner, outer)
}

fn tunnelled_by(forward: Forward, inner: usize, outer: usize) -> (Vec<u8>, Vec<u8>) {
    let bytes = frame(INNER[inner].0, INNER[inner].1, UDP, &udp(1, 2, &[7; 5]));
    let backend = testing::backend(forward, OUTER[outer].1, OUTER[outer].0).at_port(GUE_PORT);
    let mut frame = HostFrame::new(&bytes);
    encapsulate(&mut frame, &backend, 1).expect("room for headers");
    (bytes, frame.bytes().to_vec())
}

fn run(bytes: &[u8]) -> DecapVerdict {
    let mut frame = HostFrame::new(bytes);
    let verdict = open(&mut frame, &gate());
    if verdict != DecapVerdict::Opened {
        assert_eq!(frame.bytes(), bytes, "{verdict:?}");
    }
    verdict
}

fn every_combination() -> [(usize, usize); 4] {
    [(0, 0), (0, 1), (1, 0), (1, 1)]
}

#[test]
fn what_the_balancer_sends_is_opened() {
    for (inner, outer) in every_combination() {
        let (packet, bytes) = tunnelled(inner, outer);
        let mut frame = HostFrame::new(&bytes);
        assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened);
        assert_eq!(frame.bytes()[12..], packet[12..]);
        assert_eq!(frame.bytes()[..12], bytes[..12], "the tunnel's hardware addresses");
    }
}

#[test]
fn other_packets_are_no_tunnels() {
    for (inner, outer) in every_combination() {
        let (packet, mut bytes) = tunnelled(inner, outer);
        assert_eq!(run(&packet), DecapVerdict::NotTunnel);
        assert_eq!(run(&packet[..13]), DecapVerdict::NotTunnel);
        bytes[if outer == 0 { 23 } else { 20 }] = UDP;
        assert_eq!(run(&bytes), DecapVerdict::NotTunnel);
    }
}

#[test]
fn options_fragments_and_wrong_versions_are_not_opened() {
    let set = |(inner, outer), at: usize, value| {
        let (_, mut bytes) = tunnelled(inner, outer);
        bytes[at] = value;
        run(&bytes)
    };
    assert_eq!(set((0, 0), 14, 0x46), DecapVerdict::NotTunnel);
    assert_eq!(set((0, 0), 14, 0x65), DecapVerdict::NotTunnel);
    assert_eq!(set((0, 0), 20, 0x20), DecapVerdict::NotTunnel);
    assert_eq!(set((0, 0), 21, 1), DecapVerdict::NotTunnel);
    assert_eq!(set((0, 1), 14, 0x45), DecapVerdict::NotTunnel);
    assert_eq!(set((0, 1), 20, 44), DecapVerdict::NotTunnel);
}

#[test]
fn sources_are_told_from_strangers_before_anything_is_judged() {
    for (inner, outer) in every_combination() {
        let (_, mut bytes) = tunnelled(inner, outer);
        bytes[if outer == 0 { 29 } else { 37 }] ^= 1;
        assert_eq!(run(&bytes), DecapVerdict::ForeignSource);
        let cut = 14 + if outer == 0 { 20 } else { 40 };
        assert_eq!(run(&bytes[..cut]), DecapVerdict::ForeignSource);
    }
}

#[test]
fn a_tunnel_to_somebody_else_passes_whatever_is_in_it() {
    for (inner, outer) in every_combination() {
        let (_, mut bytes) = tunnelled(inner, outer);
        bytes[if outer == 0 { 33 } else { 53 }] ^= 1;
        assert_eq!(run(&bytes), DecapVerdict::ForeignDestination);
        let cut = 14 + if outer == 0 { 20 } else { 40 };
        assert_eq!(run(&bytes[..cut]), DecapVerdict::ForeignDestination);
    }
}

#[test]
fn a_packet_to_somebody_else_is_dropped() {
    for (inner, outer) in every_combination() {
        let (_, mut bytes) = tunnelled(inner, outer);
        let start = 14 + if outer == 0 { 20 } else { 40 };
        bytes[start + if inner == 0 { 19 } else { 39 }] ^= 1;
        assert_eq!(run(&bytes), DecapVerdict::NotLocal);
    }
}

#[test]
fn lying_and_cut_tunnels_are_dropped() {
    for (inner, outer) in every_combination() {
        let (packet, bytes) = tunnelled(inner, outer);
        let start = bytes.len() - (packet.len() - 14);
        for length in start..bytes.len() {
            assert_eq!(run(&bytes[..length]), DecapVerdict::Malformed, "{length} bytes");
        }
        // The inner packet claims one byte more than the outer one has.
        let mut longer = bytes.clone();
        longer[start + if inner == 0 { 3 } else { 5 }] += 1;
        longer.push(0);
        assert_eq!(run(&longer), DecapVerdict::Malformed);
        let mut wrong_version = bytes;
        wrong_version[start] ^= 0x20;
        assert_eq!(run(&wrong_version), DecapVerdict::Malformed);
    }
    for first in [0x44, 0x40] {
        let (_, mut bytes) = tunnelled(0, 0);
        bytes[34] = first;
        assert_eq!(run(&bytes), DecapVerdict::Malformed);
    }
}

/// Tags between hardware addresses and outer packet stay where they were.
#[test]
fn vlan_tags_are_kept() {
    let tags = [[0x88, 0xa8, 0x60, 1], [0x81, 0, 0, 2]];
    for (inner, outer) in every_combination() {
        for forward in [Forward::Ipip, Forward::Gue] {
            let (packet, bytes) = tunnelled_by(forward, inner, outer);
            for count in 1..=2 {
                let mut frame = HostFrame::new(&with_tags(&bytes, &tags[..count]));
                assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened);
                assert_eq!(frame.bytes()[12..], with_tags(&packet, &tags[..count])[12..]);
            }
            let third = with_tags(&bytes, &[[0x81, 0, 0, 1]; 3]);
            assert_eq!(run(&third), DecapVerdict::NotTunnel);
        }
    }
}

#[test]
fn bytes_behind_the_inner_packet_are_kept() {
    for (inner, outer) in every_combination() {
        let (packet, bytes) = tunnelled(inner, outer);
        let mut frame = HostFrame::new(&[&bytes[..], &[9; 3]].concat());
        assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened);
        assert_eq!(frame.bytes()[14..], [&packet[14..], &[9; 3]].concat());
    }
}

/// RFC 6040 section 4.2, figure 4: a row for each inner value, a column for each outer one.
const MERGED: [[Option<u8>; 4]; 4] = {
    const NOT_ECT: Option<u8> = Some(0b00);
    const ECT_1: Option<u8> = Some(0b01);
    const ECT_0: Option<u8> = Some(0b10);
    const CE: Option<u8> = Some(0b11);
    // Columns: not ECT, ECT(1), ECT(0), CE.
    [
        [NOT_ECT, NOT_ECT, NOT_ECT, None],
        [ECT_1, ECT_1, ECT_1, CE],
        [ECT_0, ECT_1, ECT_0, CE],
        [CE, CE, CE, CE],
    ]
};

/// Writes a traffic class into the IP header at `offset`, and its checksum if it has one.
fn set_class(bytes: &mut [u8], offset: usize, class: u8) {
    if bytes[offset] >> 4 == 4 {
        bytes[offset + 1] = class;
        bytes[offset + 10..offset + 12].fill(0);
        let check = !checksum::sum(&bytes[offset..offset + 20]);
        bytes[offset + 10..offset + 12].copy_from_slice(&check.to_be_bytes());
    } else {
        bytes[offset] = 0x60 | class >> 4;
        bytes[offset + 1] = bytes[offset + 1] & 0x0f | class << 4;
    }
}

#[test]
fn congestion_that_the_outer_header_reports_reaches_the_inner_one() {
    for (inner, outer) in every_combination() {
        for (inner_ecn, row) in MERGED.into_iter().enumerate() {
            for (outer_ecn, merged) in row.into_iter().enumerate() {
                let (_, mut bytes) = tunnelled(inner, outer);
                let start = 14 + if outer == 0 { 20 } else { 40 };
                // The other bits are different ones, and stay.
                set_class(&mut bytes, 14, 0x54 | outer_ecn as u8);
                set_class(&mut bytes, start, 0xb8 | inner_ecn as u8);
                let case = format!("{inner_ecn} in {outer_ecn}");
                let Some(merged) = merged else {
                    assert_eq!(run(&bytes), DecapVerdict::CongestionNotEcn, "{case}");
                    continue;
                };
                let mut frame = HostFrame::new(&bytes);
                assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened, "{case}");
                set_class(&mut bytes, start, 0xb8 | merged);
                assert_eq!(frame.bytes()[14..], bytes[start..], "{case}");
            }
        }
    }
}

/// RFC 1624 section 4: an update after the older equation makes 0xffff of a checksum of 0.
#[test]
fn a_checksum_is_updated_to_what_it_would_be_if_made_anew() {
    // Miri would take hours for all of them.
    for identification in (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 1 }) {
        let (_, mut bytes) = tunnelled(0, 0);
        bytes[38..40].copy_from_slice(&identification.to_be_bytes());
        set_class(&mut bytes, 14, 0b11);
        set_class(&mut bytes, 34, 0b10);
        let mut frame = HostFrame::new(&bytes);
        assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened);
        assert_eq!(checksum::sum(&frame.bytes()[14..34]), 0xffff, "{identification}");
        set_class(&mut bytes, 34, 0b11);
        assert_eq!(frame.bytes()[14..34], bytes[34..54], "{identification}");
    }
}

#[test]
fn keys_tell_families_apart() {
    let mapped: IpAddr = address("::ffff:10.0.0.1");
    let (plain, mapped) = (words("10.0.0.1"), mapped.into());
    assert_eq!(LocalAddress::of(&plain), LocalAddress::of(&mapped));
    assert_ne!(SourcePrefix::of(&plain), SourcePrefix::of(&mapped));
    assert_eq!(size_of::<SourcePrefix>() * 8, SourcePrefix::BITS as usize);
}
