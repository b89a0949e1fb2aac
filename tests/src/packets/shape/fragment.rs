//! Datagrams in pieces.

use etherparse::Ipv4Header;

use super::ETHERNET;

const MORE_FRAGMENTS: u8 = 0x20;
const IPV6: usize = 40;

/// The packet of a frame without tags in pieces of at most `size` bytes behind the IP header, in
/// their order; `size` is a multiple of 8. A packet that fits is still made a fragment over IPv6
/// and stays whole over IPv4.
///
/// # Panics
/// If the frame holds no IP packet, or `size` is none.
#[must_use]
pub fn fragments(frame: &[u8], size: usize, identification: u32) -> Vec<Vec<u8>> {
    assert!(size > 0 && size.is_multiple_of(8), "fragments of {size} bytes");
    match frame[ETHERNET] >> 4 {
        4 => ipv4(frame, size, identification as u16),
        _ => ipv6(frame, size, identification),
    }
}

fn ipv4(frame: &[u8], size: usize, identification: u16) -> Vec<Vec<u8>> {
    let (header, rest) = Ipv4Header::from_slice(&frame[ETHERNET..]).expect("an IPv4 packet");
    let payload = &rest[..usize::from(header.total_len) - header.header_len()];
    let pieces = payload.chunks(size).enumerate().map(|(number, piece)| {
        let mut header = header.clone();
        header.identification = identification;
        header.dont_fragment = false;
        header.more_fragments = (number + 1) * size < payload.len();
        let offset = (number * size / 8) as u16;
        header.fragment_offset = offset.try_into().expect("13 bits");
        header.set_payload_len(piece.len()).expect("a piece is short enough");
        header.header_checksum = header.calc_header_checksum();
        [&frame[..ETHERNET], &header.to_bytes(), piece].concat()
    });
    pieces.collect()
}

fn ipv6(frame: &[u8], size: usize, identification: u32) -> Vec<Vec<u8>> {
    let start = ETHERNET + IPV6;
    let header = &frame[..start];
    let length = usize::from(u16::from_be_bytes([header[ETHERNET + 4], header[ETHERNET + 5]]));
    let payload = &frame[start..start + length];
    let pieces = payload.chunks(size).enumerate().map(|(number, piece)| {
        let mut header = header.to_vec();
        let length = (piece.len() + 8) as u16;
        header[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&length.to_be_bytes());
        let next = std::mem::replace(&mut header[ETHERNET + 6], 44);
        let more = u16::from((number + 1) * size < payload.len());
        let [high, low] = ((number * size) as u16 | more).to_be_bytes();
        [&header[..], &[next, 0, high, low], &identification.to_be_bytes(), piece].concat()
    });
    pieces.collect()
}

/// Whether the frame without tags is a fragment that others follow, or one that follows.
#[must_use]
pub fn is_fragment(frame: &[u8]) -> bool {
    match frame[ETHERNET] >> 4 {
        4 => frame[ETHERNET + 6] & (MORE_FRAGMENTS | 0x1f) != 0 || frame[ETHERNET + 7] != 0,
        _ => frame[ETHERNET + 6] == 44,
    }
}
