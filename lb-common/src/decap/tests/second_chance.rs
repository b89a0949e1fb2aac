//! Packets that the wrong one of two backends gets.

use super::*;
use crate::{
    service::TCP,
    testing::{ACK, SYN, sealed, segment_sum, tcp, with_extensions, with_options, with_piece},
};

const OTHERS: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
const PORTS: [u16; 2] = [40_000, 80];
const OTHER: u8 = 1;
const SPENT: u8 = 2;

/// Gives on everything but packets of these clients' connections.
fn gate_with(connections: &[usize]) -> HostGate {
    let connection = |inner: &usize| {
        let (client, server) = INNER[*inner];
        let [from, to] = PORTS.map(u16::to_be_bytes);
        let ports = u32::from_ne_bytes([from[0], from[1], to[0], to[1]]);
        Connection { client: words(client), server: words(server), ports }
    };
    let connections = connections.iter().map(connection).collect();
    HostGate { gives_on: true, connections, ..gate() }
}

fn segment(inner: usize, flags: u8) -> Vec<u8> {
    let transport = [&tcp(PORTS[0], PORTS[1], flags)[..], &[7; 9]].concat();
    sealed(&frame(INNER[inner].0, INNER[inner].1, TCP, &transport))
}

/// A mark of this kind that names this address, as bytes.
fn mark(kind: u8, other: &str) -> Vec<u8> {
    match address(other) {
        IpAddr::V4(other) => [&[b'l', b'b', kind, 4][..], &other.octets()].concat(),
        IpAddr::V6(other) => [&[b'l', b'b', kind, 6][..], &other.octets()].concat(),
    }
}

/// A packet's tunnel with these private words, to one of the backends of the outer family, with
/// right checksums.
fn tunnel(packet: &[u8], outer: usize, private: &[u8], to: &str) -> Vec<u8> {
    let backend = testing::backend(Forward::Gue, to, OUTER[outer].0).at_port(GUE_PORT);
    let mut frame = HostFrame::new(packet);
    encapsulate(&mut frame, &backend, 1).expect("room for headers");
    let mut bytes = frame.bytes().to_vec();
    let gue = 14 + [20, 40][outer] + 8;
    bytes[gue] = (private.len() / 4) as u8;
    for at in [14 + [2, 4][outer], gue - 4] {
        let length = u16::from_be_bytes([bytes[at], bytes[at + 1]]) + private.len() as u16;
        bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    bytes.splice(gue + 4..gue + 4, private.iter().copied());
    let mut bytes = sealed(&bytes);
    let sum = &mut bytes[gue - 2..gue];
    // RFC 768: a sum of zero is written as its other form.
    if sum == [0; 2] {
        sum.fill(0xff);
    }
    bytes
}

fn marked(packet: &[u8], outer: usize, kind: u8) -> Vec<u8> {
    tunnel(packet, outer, &mark(kind, OTHERS[outer]), OUTER[outer].1)
}

#[track_caller]
fn expect(gate: &HostGate, bytes: &[u8], verdict: DecapVerdict) -> Vec<u8> {
    let mut frame = HostFrame::new(bytes);
    assert_eq!(open(&mut frame, gate), verdict);
    frame.bytes().to_vec()
}

#[track_caller]
fn expect_opened(gate: &HostGate, bytes: &[u8], packet: &[u8]) {
    assert_eq!(expect(gate, bytes, DecapVerdict::Opened)[12..], packet[12..]);
}

#[test]
fn a_packet_of_an_unknown_connection_is_given_on_with_its_mark_spent() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        let given_on =
            expect(&gate_with(&[]), &marked(&packet, outer, OTHER), DecapVerdict::SecondChance);
        let spent = mark(SPENT, OTHERS[outer]);
        assert_eq!(given_on, tunnel(&packet, outer, &spent, OTHERS[outer]), "{inner} in {outer}");
        assert_eq!(segment_sum(&given_on), 0xffff);
    }
}

/// RFC 1624 section 4: whatever the checksum was. Zero, which is none, stays.
#[test]
fn checksums_are_updated_to_what_they_would_be_if_made_anew() {
    for outer in [0, 1] {
        let udp = 14 + [20, 40][outer];
        for word in (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 7 }) {
            let mut packet = segment(0, ACK);
            // The segment's own window: its checksum is not looked at.
            packet[48..50].copy_from_slice(&word.to_be_bytes());
            let bytes = marked(&packet, outer, OTHER);
            let given_on = expect(&gate_with(&[]), &bytes, DecapVerdict::SecondChance);
            let spent = mark(SPENT, OTHERS[outer]);
            assert_eq!(given_on, tunnel(&packet, outer, &spent, OTHERS[outer]), "{word}");
        }
        let mut without = marked(&segment(0, ACK), outer, OTHER);
        without[udp + 6..udp + 8].fill(0);
        let given_on = expect(&gate_with(&[]), &without, DecapVerdict::SecondChance);
        assert_eq!(given_on[udp + 6..udp + 8], [0, 0]);
    }
}

#[test]
fn a_packet_of_a_known_connection_is_opened() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        let bytes = marked(&packet, outer, OTHER);
        expect_opened(&gate_with(&[inner]), &bytes, &packet);
        expect(&gate_with(&[1 - inner]), &bytes, DecapVerdict::SecondChance);
    }
}

#[test]
fn a_spent_mark_gives_nothing_on() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        expect_opened(&gate_with(&[]), &marked(&packet, outer, SPENT), &packet);
    }
}

#[test]
fn nothing_is_given_on_where_nobody_asked_for_it() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        expect_opened(&gate(), &marked(&packet, outer, OTHER), &packet);
    }
}

#[test]
fn what_begins_a_connection_or_is_of_none_is_opened() {
    for (inner, outer) in every_combination() {
        let datagram = frame(INNER[inner].0, INNER[inner].1, UDP, &udp(1, 2, &[ACK; 20]));
        for packet in [segment(inner, SYN), segment(inner, SYN | ACK), datagram] {
            expect_opened(&gate_with(&[]), &marked(&packet, outer, OTHER), &packet);
        }
    }
}

#[test]
fn segments_behind_options_are_found_and_those_in_pieces_are_opened() {
    for outer in [0, 1] {
        let gate = gate_with(&[]);
        let whole = segment(0, ACK);
        let optional = with_options(&whole, &[1; 8]);
        expect(&gate, &marked(&optional, outer, OTHER), DecapVerdict::SecondChance);
        expect_opened(&gate_with(&[0]), &marked(&optional, outer, OTHER), &optional);
        let first = with_piece(&whole, 1, 0x2000);
        let later = with_piece(&whole, 1, 3);
        let extended = with_extensions(&segment(1, ACK), &[(60, vec![0; 8])]);
        for packet in [first, later, extended] {
            expect_opened(&gate, &marked(&packet, outer, OTHER), &packet);
        }
    }
}

/// Private data of somebody else's, marks of kinds to come, and marks of the other family.
#[test]
fn words_that_are_no_mark_are_skipped() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        let right = mark(OTHER, OTHERS[outer]);
        let mut wrong = vec![mark(OTHER, OTHERS[1 - outer]), [&right[..], &[0; 4]].concat()];
        wrong.push(right[..4].to_vec());
        for (at, value) in [(0, b'L'), (1, 0), (2, 0), (2, 3), (3, [6, 4][outer])] {
            let mut changed = right.clone();
            changed[at] = value;
            wrong.push(changed);
        }
        for private in wrong {
            let bytes = tunnel(&packet, outer, &private, OUTER[outer].1);
            expect_opened(&gate_with(&[]), &bytes, &packet);
        }
    }
}

#[test]
fn a_machine_with_both_addresses_gives_nothing_on_to_itself() {
    for (inner, outer) in every_combination() {
        let packet = segment(inner, ACK);
        let mut gate = gate_with(&[]);
        gate.own.insert(words(OTHERS[outer]));
        expect_opened(&gate, &marked(&packet, outer, OTHER), &packet);
    }
}

#[test]
fn what_is_not_let_in_is_not_given_on() {
    for (inner, outer) in every_combination() {
        let bytes = marked(&segment(inner, ACK), outer, OTHER);
        let foreign = HostGate { sources: BTreeSet::new(), ..gate_with(&[]) };
        assert_eq!(expect(&foreign, &bytes, DecapVerdict::ForeignSource), bytes);
        let elsewhere = HostGate { targets: BTreeSet::new(), ..gate_with(&[]) };
        assert_eq!(expect(&elsewhere, &bytes, DecapVerdict::NotLocal), bytes);
        for length in 0..bytes.len() {
            let mut frame = HostFrame::new(&bytes[..length]);
            let verdict = open(&mut frame, &gate_with(&[]));
            assert!(
                !matches!(verdict, DecapVerdict::Opened | DecapVerdict::SecondChance),
                "{length} bytes: {verdict:?}"
            );
            assert_eq!(frame.bytes(), &bytes[..length]);
        }
    }
}

/// Marked as congested on the way, a packet stays so: the second far end drops or marks it.
#[test]
fn congestion_marks_go_on() {
    for (inner, outer) in every_combination() {
        let mut bytes = marked(&segment(inner, ACK), outer, OTHER);
        set_class(&mut bytes, 14, 0b11);
        let given_on = expect(&gate_with(&[]), &bytes, DecapVerdict::SecondChance);
        assert_eq!(given_on[14..16], bytes[14..16]);
    }
}
