//! What QUIC shows of itself in UDP, RFC 8999.

/// Version 1, RFC 9000.
const VERSION: [u8; 4] = [0, 0, 0, 1];

/// A packet with a long header: how connections begin. Connection identifiers have at most 20
/// bytes in version 1.
#[must_use]
pub fn long(destination: &[u8], source: &[u8]) -> Vec<u8> {
    let lengths = [destination, source].map(|id| [id.len() as u8]);
    [&[0xc3], &VERSION[..], &lengths[0], destination, &lengths[1], source, &[0x5a; 24]].concat()
}

/// A packet with a short header: how they go on.
#[must_use]
pub fn short(destination: &[u8]) -> Vec<u8> {
    [&[0x43], destination, &[0x5a; 24]].concat()
}
