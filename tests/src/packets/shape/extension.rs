//! IPv6 extension headers.

use super::ETHERNET;

const IPV6: usize = 40;
/// Where the payload's length and the next header are.
const LENGTH: usize = ETHERNET + 4;
const NEXT_HEADER: usize = ETHERNET + 6;

/// A header between IPv6's and the transport's, RFC 8200 section 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Hop-by-hop options: padding, in units of 8 bytes.
    HopByHop(u8),
    /// Destination options: padding, in units of 8 bytes.
    Destination(u8),
    /// A routing header with so many segments left.
    Routing(u8),
    /// An authentication header, RFC 4302.
    Authentication,
    /// A fragment header of a datagram in one piece, RFC 6946.
    AtomicFragment,
}

impl Extension {
    const fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Destination(_) => 60,
            Self::Routing(_) => 43,
            Self::Authentication => 51,
            Self::AtomicFragment => 44,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
        match self {
            Self::HopByHop(units) | Self::Destination(units) => {
                let units = units.max(1);
                let mut bytes = vec![0; usize::from(units) * 8];
                // PadN fills the header, in as many options as it takes; Pad1 is zero.
                let padding = (bytes.len() - 4).min(255) as u8;
                bytes[..4].copy_from_slice(&[next, units - 1, 1, padding]);
                bytes
            }
            // An experimental type, RFC 4727, that nodes skip if no segment is left.
            Self::Routing(left) => vec![next, 0, 253, left, 0, 0, 0, 0],
            Self::Authentication => {
                [&[next, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1][..], &[0xab; 4]].concat()
            }
            Self::AtomicFragment => vec![next, 0, 0, 0, 0xab, 0xcd, 0xef, 1],
        }
    }
}

/// An IPv6 packet's frame without tags, with extension headers in this order.
#[must_use]
pub fn extended(frame: &[u8], extensions: &[Extension]) -> Vec<u8> {
    let mut next = frame[NEXT_HEADER];
    let mut chain = Vec::new();
    for extension in extensions.iter().rev() {
        chain = [extension.bytes(next), chain].concat();
        next = extension.number();
    }
    let (header, rest) = frame.split_at(ETHERNET + IPV6);
    let mut bytes = [header, &chain, rest].concat();
    let length = u16::from_be_bytes([frame[LENGTH], frame[LENGTH + 1]]) + chain.len() as u16;
    bytes[LENGTH..LENGTH + 2].copy_from_slice(&length.to_be_bytes());
    bytes[NEXT_HEADER] = next;
    bytes
}
