//! IPv6 extension headers.

use super::*;
use crate::verdict::Verdict;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;

/// A header of `units` times eight bytes.
fn header(number: u8, units: u8) -> (u8, Vec<u8>) {
    let mut bytes = vec![0; usize::from(units) * 8];
    bytes[1] = units - 1;
    (number, bytes)
}

fn with(headers: &[(u8, Vec<u8>)]) -> Result<Seen, Verdict> {
    let [_, bytes] = frames(UDP, &udp(9, 53, b"?"));
    testing::seen(&testing::with_extensions(&bytes, headers))
}

fn is_found(headers: &[(u8, Vec<u8>)]) -> bool {
    let seen = with(headers).expect("a packet");
    let expected = 54 + headers.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    (seen.packet.key, seen.kind, seen.packet.layout.transport())
        == (key(VIPS[1], 53, UDP), Kind::Whole, expected)
}

#[test]
fn every_header_is_walked_over() {
    for number in [HOP_BY_HOP, ROUTING, DESTINATION, 135, 139, 140] {
        for units in [1, 2, 31] {
            assert!(is_found(&[header(number, units)]), "{number} of {units} units");
        }
    }
    // In units of four bytes, less two.
    assert!(is_found(&[(AUTHENTICATION, [0, 4, 0, 0, 0, 0, 0, 0].repeat(3))]));
    let chain = [HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, DESTINATION];
    assert!(is_found(&chain.map(|number| header(number, 1))));
}

#[test]
fn a_chain_has_an_end() {
    assert!(is_found(&vec![header(DESTINATION, 1); 6]));
    let refused = Some(Verdict::ExtensionHeader);
    assert_eq!(with(&vec![header(DESTINATION, 1); 7]).err(), refused);
    assert!(is_found(&[header(DESTINATION, 32)]), "256 bytes");
    assert_eq!(with(&[header(DESTINATION, 32), header(DESTINATION, 1)]).err(), refused);
    assert_eq!(with(&[header(DESTINATION, 33)]).err(), refused);
}

#[test]
fn a_route_that_goes_on_is_anothers() {
    let mut route = header(ROUTING, 1);
    route.1[3] = 1;
    assert_eq!(with(&[route]).err(), Some(Verdict::ExtensionHeader));
}

#[test]
fn what_hides_its_transport_is_none() {
    for protocol in [ESP, NOTHING, 132] {
        let [_, bytes] = frames(protocol, &[0; 16]);
        assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport), "{protocol}");
        let bytes = testing::with_extensions(&bytes, &[header(DESTINATION, 1)]);
        assert_eq!(testing::seen(&bytes).err(), Some(Verdict::NotTransport), "{protocol}");
    }
}

#[test]
fn a_chain_that_is_cut_short_is_truncated() {
    let [_, bytes] = frames(UDP, &udp(9, 53, &[]));
    let bytes = testing::with_extensions(&bytes, &[header(HOP_BY_HOP, 1), header(DESTINATION, 2)]);
    for length in 54..54 + 8 + 16 + 4 {
        let verdict = testing::seen(&bytes[..length]).err();
        assert_eq!(verdict, Some(Verdict::Truncated), "{length} bytes");
    }
}

#[test]
fn a_fragment_header_tells_which_piece_it_is() {
    let piece = |field: u16| {
        let [high, low] = field.to_be_bytes();
        let header = (FRAGMENT, vec![0, 0, high, low, 0xab, 0xcd, 0, 1]);
        with(&[header]).map(|seen| seen.kind)
    };
    assert_eq!(piece(0), Ok(Kind::Whole), "atomic, RFC 6946");
    assert_eq!(piece(1), Ok(Kind::FirstFragment(0xabcd_0001)));
    assert_eq!(piece(0x0010), Ok(Kind::LaterFragment(0xabcd_0001)));
    assert_eq!(piece(0x0011), Ok(Kind::LaterFragment(0xabcd_0001)));
}

/// What looks like another extension header in a later fragment is payload.
#[test]
fn nothing_is_walked_behind_a_later_fragment() {
    let later = (FRAGMENT, vec![0, 0, 0, 16, 0, 0, 0, 1]);
    let seen = with(&[later, header(DESTINATION, 1)]).err();
    assert_eq!(seen, Some(Verdict::Fragment));
}
