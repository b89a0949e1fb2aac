//! Packets in UDP.

use super::*;
use crate::service::TCP;

/// A packet and the frame of it in GUE.
fn in_gue(inner: usize, outer: usize) -> (Vec<u8>, Vec<u8>) {
    tunnelled_by(Forward::Gue, inner, outer)
}

/// Where GUE's own header starts.
const fn gue_start(outer: usize) -> usize {
    14 + [20, 40][outer] + 8
}

/// The frame with so many bytes more or fewer in both outer length fields.
fn lengthened(mut bytes: Vec<u8>, outer: usize, by: i16) -> Vec<u8> {
    for at in [14 + [2, 4][outer], gue_start(outer) - 4] {
        let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]).wrapping_add_signed(by);
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[track_caller]
fn expect_opened(bytes: &[u8], packet: &[u8]) {
    let mut frame = HostFrame::new(bytes);
    assert_eq!(open(&mut frame, &gate()), DecapVerdict::Opened);
    assert_eq!(frame.bytes()[12..], packet[12..]);
}

#[test]
fn what_the_balancer_sends_is_opened_at_its_port_only() {
    for (inner, outer) in every_combination() {
        let (packet, bytes) = in_gue(inner, outer);
        expect_opened(&bytes, &packet);
        let mut closed = HostFrame::new(&bytes);
        let gate = HostGate { gue_port: 0, ..gate() };
        assert_eq!(open(&mut closed, &gate), DecapVerdict::NotTunnel);
        let port = gue_start(outer) - 6;
        let mut other = bytes.clone();
        other[port + 1] ^= 1;
        assert_eq!(run(&other), DecapVerdict::NotTunnel);
        other[port..port + 2].fill(0);
        let mut to_port_0 = HostFrame::new(&other);
        assert_eq!(open(&mut to_port_0, &gate), DecapVerdict::NotTunnel, "port 0 is none");
    }
}

#[test]
fn strangers_and_other_machines_are_left_alone_whatever_they_send() {
    for (inner, outer) in every_combination() {
        let (_, bytes) = in_gue(inner, outer);
        for (at, verdict) in [
            (14 + [15, 23][outer], DecapVerdict::ForeignSource),
            (14 + [19, 39][outer], DecapVerdict::ForeignDestination),
        ] {
            let mut foreign = bytes.clone();
            foreign[at] ^= 1;
            assert_eq!(run(&foreign), verdict);
            assert_eq!(run(&foreign[..gue_start(outer)]), verdict);
        }
    }
}

#[test]
fn a_packet_without_a_header_of_gues_own_is_opened() {
    for (inner, outer) in every_combination() {
        let (packet, bytes) = in_gue(inner, outer);
        let mut direct = lengthened(bytes, outer, -4);
        direct.drain(gue_start(outer)..gue_start(outer) + 4);
        expect_opened(&direct, &packet);
    }
}

#[test]
fn private_words_are_skipped() {
    for (inner, outer) in every_combination() {
        for words in [1, 5, 31_u8] {
            let (packet, bytes) = in_gue(inner, outer);
            let start = gue_start(outer);
            let mut longer = lengthened(bytes, outer, 4 * i16::from(words));
            longer[start] = words;
            longer.splice(start + 4..start + 4, vec![0x45; 4 * usize::from(words)]);
            expect_opened(&longer, &packet);
        }
    }
}

#[test]
fn what_is_not_understood_is_dropped() {
    for (inner, outer) in every_combination() {
        let start = gue_start(outer);
        let changed = |at: usize, value: u8| {
            let (_, mut bytes) = in_gue(inner, outer);
            bytes[start + at] = value;
            run(&bytes)
        };
        // Control messages; variants to come; versions that are none; words that are not there.
        for first in [0x20, 0x3f, 0x80, 0xc0, 0x50, 0x70, 0x01, 0x1f] {
            assert_eq!(changed(0, first), DecapVerdict::Malformed, "{first:#x}");
        }
        for protocol in [0, TCP, UDP, 59] {
            assert_eq!(changed(1, protocol), DecapVerdict::Malformed, "{protocol}");
        }
        for at in [2, 3] {
            assert_eq!(changed(at, 1), DecapVerdict::Malformed, "a flag");
        }
    }
}

#[test]
fn lying_and_cut_datagrams_are_dropped() {
    for (inner, outer) in every_combination() {
        let (_, bytes) = in_gue(inner, outer);
        let start = gue_start(outer);
        for by in [-1, 1] {
            let mut lying = bytes.clone();
            let length = &mut lying[start - 3];
            *length = length.wrapping_add_signed(by);
            assert_eq!(run(&lying), DecapVerdict::Malformed, "{by} bytes");
        }
        for length in start - 8..bytes.len() {
            let expected =
                if length < start { DecapVerdict::NotTunnel } else { DecapVerdict::Malformed };
            assert_eq!(run(&bytes[..length]), expected, "{length} bytes");
        }
    }
}
