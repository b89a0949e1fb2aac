//! IPv4 options.

use super::*;
use crate::verdict::Verdict;

/// What is read of a UDP packet with these options.
fn with(options: &[u8]) -> Seen {
    let [bytes, _] = frames(UDP, &udp(9, 53, b"?"));
    let bytes = testing::with_options(&bytes, options);
    let seen = testing::seen(&bytes).expect("a packet");
    assert!(seen.packet.is_well_formed(&HostFrame::new(&bytes)), "{options:?}");
    seen
}

#[test]
fn options_move_the_transport_header() {
    for words in 1..=10 {
        let seen = with(&vec![1; words * 4]);
        assert_eq!(seen.packet.key, key(VIPS[0], 53, UDP), "{words} words");
        assert_eq!((seen.kind, seen.flaw), (Kind::Whole, None));
    }
}

#[test]
fn a_source_route_is_a_flaw_wherever_it_stands() {
    let flaw = Some(Verdict::SourceRoute);
    for route in [131, 137] {
        assert_eq!(with(&[route, 7, 4, 10, 0, 0, 1, 0]).flaw, flaw);
        assert_eq!(with(&[1, route, 3, 4]).flaw, flaw, "behind nothing");
        assert_eq!(with(&[148, 4, 0, 0, route, 3, 4, 0]).flaw, flaw, "behind router alert");
        let mut last = [1; 40];
        last[37..].copy_from_slice(&[route, 3, 4]);
        assert_eq!(with(&last).flaw, flaw, "at the end");
        assert_eq!(with(&[0, route, 3, 4]).flaw, None, "behind the end of the list");
        assert_eq!(with(&[148, 4, route, 3]).flaw, None, "within another option");
    }
}

#[test]
fn options_that_contradict_themselves_end_the_walk() {
    for options in [[7, 0, 131, 3], [7, 1, 131, 3], [7, 200, 131, 3]] {
        assert_eq!(with(&options).flaw, None, "{options:?}");
    }
}

#[test]
fn options_beyond_the_packet_are_malformed() {
    let [bytes, _] = frames(UDP, &udp(9, 53, b"?"));
    let mut bytes = testing::with_options(&bytes, &[1; 40]);
    bytes[16..18].copy_from_slice(&60_u16.to_be_bytes());
    let packet = testing::seen(&bytes).expect("ports").packet;
    assert!(!packet.is_well_formed(&HostFrame::new(&bytes)));
}
