//! Fragments, and what is wrong with them.

use super::*;
use crate::verdict::Verdict;

const MORE: u16 = 0x2000;

/// What is read of a fragment of IPv4.
fn fragment(protocol: u8, transport: &[u8], field: u16) -> Result<Seen, Verdict> {
    let [bytes, _] = frames(protocol, transport);
    testing::seen(&testing::with_piece(&bytes, 0x77, field))
}

#[test]
fn the_first_fragment_knows_the_ports() {
    let tcp = testing::tcp(9, 80, SYN);
    for (protocol, transport) in [(TCP, &tcp), (UDP, &udp(9, 80, &[0; 24]))] {
        let seen = fragment(protocol, transport, MORE).expect("a fragment");
        assert_eq!((seen.kind, seen.flaw), (Kind::FirstFragment(0x77), None));
        assert_eq!((seen.packet.client_port(), seen.packet.key.port()), (9, 80));
    }
}

/// UDP claims the length of the whole datagram, of which this is a part.
#[test]
fn a_first_fragment_is_well_formed_though_its_datagram_is_longer() {
    let mut transport = udp(9, 80, &[0; 24]);
    transport[4..6].copy_from_slice(&9000_u16.to_be_bytes());
    let [bytes, _] = frames(UDP, &transport);
    let bytes = testing::with_piece(&bytes, 1, MORE);
    let packet = testing::seen(&bytes).expect("a fragment").packet;
    assert!(packet.is_well_formed(&HostFrame::new(&bytes)));
}

#[test]
fn later_fragments_know_no_ports() {
    for (field, protocol) in [(3, TCP), (3 | MORE, TCP), (1, UDP), (0x1f00, UDP)] {
        let seen = fragment(protocol, &[0xff; 16], field).expect("a fragment");
        assert_eq!((seen.kind, seen.flaw), (Kind::LaterFragment(0x77), None), "{field:#x}");
        assert_eq!((seen.packet.client_port(), seen.packet.key.port()), (0, 0));
    }
}

#[test]
fn a_first_fragment_without_a_whole_header_is_tiny() {
    let tiny = Some(Verdict::TinyFragment);
    let tcp = testing::tcp(9, 80, SYN);
    for (protocol, transport) in [(TCP, &tcp[..16]), (TCP, &tcp[..8]), (UDP, &udp(9, 80, &[])[..4])]
    {
        assert_eq!(fragment(protocol, transport, MORE).expect("ports").flaw, tiny);
    }
    // Options that another fragment would bring.
    let mut long = testing::tcp(9, 80, SYN);
    long[12] = 8 << 4;
    assert_eq!(fragment(TCP, &long, MORE).expect("ports").flaw, tiny);
    // Four bytes are not enough to tell whom it is for.
    assert_eq!(fragment(TCP, &tcp[..3], MORE).err(), Some(Verdict::Truncated));
}

/// RFC 3128: it would overwrite the flags of the first.
#[test]
fn a_second_fragment_from_byte_eight_on_is_tiny_for_tcp() {
    let flaw = |protocol, field| fragment(protocol, &[0; 16], field).expect("a fragment").flaw;
    assert_eq!(flaw(TCP, 1), Some(Verdict::TinyFragment));
    assert_eq!(flaw(TCP, 1 | MORE), Some(Verdict::TinyFragment));
    assert_eq!(flaw(TCP, 2), None);
    assert_eq!(flaw(UDP, 1), None);
}

#[test]
fn a_fragment_beyond_the_longest_datagram_is_malformed() {
    let flaw =
        |payload: usize, field| fragment(UDP, &vec![0; payload], field).expect("a fragment").flaw;
    // 8,191 units of eight bytes are 65,528.
    assert_eq!(flaw(7, 0x1fff), None);
    assert_eq!(flaw(8, 0x1fff), Some(Verdict::Malformed));
    assert_eq!(flaw(40, 0x1ffc), Some(Verdict::Malformed));
}

#[test]
fn fragments_of_what_has_no_ports_are_no_services() {
    for (protocol, field) in [(1, MORE), (1, 3), (47, 3)] {
        let verdict = fragment(protocol, &[8, 0, 0, 0, 0, 0, 0, 0], field).err();
        assert_eq!(verdict, Some(Verdict::Fragment), "{protocol} {field:#x}");
    }
}

#[test]
fn fragments_of_one_datagram_share_a_hash_and_others_do_not() {
    let secret = HashKey::derive(b"fragments");
    let hash = |client: &str, protocol, transport: &[u8], field, id| {
        let bytes = testing::with_piece(&frame(client, VIPS[0], protocol, transport), id, field);
        testing::seen(&bytes).expect("a fragment").datagram(&secret, id.into())
    };
    let first = hash(CLIENTS[0], UDP, &udp(9, 80, &[0; 8]), MORE, 7);
    assert_eq!(hash(CLIENTS[0], UDP, &[0; 16], 2, 7), first);
    assert_ne!(hash(CLIENTS[0], UDP, &[0; 16], 2, 8), first, "another identification");
    assert_ne!(hash(CLIENTS[0], TCP, &[0; 16], 2, 7), first, "another protocol");
    assert_ne!(hash("198.51.100.8", UDP, &[0; 16], 2, 7), first, "another client");
}
