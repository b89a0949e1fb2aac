//! Tags and IP headers.

use super::*;
use crate::{
    packet::outline::{self, Piece},
    verdict::Verdict,
};

fn outline(bytes: &[u8]) -> Result<Outline, Verdict> {
    outline::read(&HostFrame::new(bytes))
}

#[test]
fn up_to_two_tags_move_all_headers() {
    let tags = [[0x88, 0xa8, 0, 1], [0x81, 0, 0, 2], [0x81, 0, 0, 3]];
    for bytes in frames(UDP, &udp(9, 53, b"?")) {
        let plain = outline(&bytes).expect("a packet").layout;
        for count in 0..=2 {
            let tagged = testing::with_tags(&bytes, &tags[..count]);
            let moved = outline(&tagged).expect("a packet").layout;
            let by = count * 4;
            let expected = Layout::new(plain.network() + by, plain.transport() + by);
            assert_eq!(moved, expected, "{count} tags");
            let seen = testing::seen(&tagged).expect("a packet");
            assert_eq!(seen.packet.key.port(), 53);
            assert!(seen.packet.is_well_formed(&HostFrame::new(&tagged)));
            assert!(!seen.packet.is_well_formed(&HostFrame::new(&tagged[..tagged.len() - 1])));
        }
        let three = testing::with_tags(&bytes, &tags);
        assert_eq!(outline(&three).err(), Some(Verdict::NotIp));
    }
}

#[test]
fn headers_that_cannot_be_are_no_packet() {
    let [ipv4, ipv6] = frames(UDP, &udp(9, 53, b"?"));
    let first = |bytes: &[u8], value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[14] = value;
        outline(&bytes).err()
    };
    for value in [0x05, 0x40, 0x44, 0x55, 0x65] {
        assert_eq!(first(&ipv4, value), Some(Verdict::NotIp), "{value:#x}");
    }
    for value in [0x00, 0x45, 0x70] {
        assert_eq!(first(&ipv6, value), Some(Verdict::NotIp), "{value:#x}");
    }
    for (bytes, header) in [(ipv4, 20), (ipv6, 40)] {
        for length in 14..14 + header {
            assert_eq!(outline(&bytes[..length]).err(), Some(Verdict::Truncated), "{length}");
        }
        assert!(outline(&bytes[..14 + header]).is_ok());
    }
}

#[test]
fn the_piece_of_a_datagram_is_read_from_its_field() {
    let [bytes, _] = frames(UDP, &udp(9, 53, &[0; 32]));
    let piece = |field| {
        let bytes = testing::with_piece(&bytes, 0xabcd, field);
        outline(&bytes).expect("a packet").piece
    };
    let id = 0xabcd;
    assert_eq!(piece(0x4000), Piece { offset: 0, more: false, id }, "don't fragment");
    assert_eq!(piece(0x8000), Piece { offset: 0, more: false, id }, "reserved");
    assert_eq!(piece(0x2000), Piece { offset: 0, more: true, id });
    assert_eq!(piece(0x2003), Piece { offset: 24, more: true, id });
    assert_eq!(piece(0x1fff), Piece { offset: 65_528, more: false, id });
}
