//! What is in a UDP datagram to the port of GUE, draft-ietf-intarea-gue-09.
//!
//! ```text
//! variant 0   | 0 | C |  hlen   |   protocol    |            flags              | hlen words ...
//! variant 1   | 0100 or 0110: the IP packet itself
//! ```
//! The datagram's checksum is not verified: that would need all of its bytes. The packet within has
//! checksums of its own, which its receiver verifies.

use network_types::udp::UdpHdr;

use super::{inner::Inner, outer::Outer};
use crate::frame::Frame;

/// A packet in a datagram.
pub(super) struct Contents {
    pub(super) inner: Inner,
    /// Where it starts, in bytes from the start of the frame.
    pub(super) start: usize,
    /// Where the datagram ends, likewise.
    pub(super) end: usize,
    /// Words of private data behind variant 0's base header.
    pub(super) words: u32,
}

/// Bytes of variant 0's header without its additional words.
pub(super) const BASE: usize = 4;

/// The packet in the datagram that `outer` carries; `None` if there is none that could be opened.
#[inline(always)]
pub(super) fn contents<F: Frame>(frame: &F, outer: &Outer) -> Option<Contents> {
    let udp = frame.header::<UdpHdr>(outer.payload)?;
    let end = outer.payload + usize::from(u16::from_be_bytes(udp.len));
    if end > outer.end {
        return None;
    }
    let start = outer.payload + UdpHdr::LEN;
    let [first, protocol, flags @ ..] = *frame.header::<[u8; BASE]>(start)?;
    let words = u32::from(first & 0x1f);
    let (inner, header) = match first >> 4 {
        // Flags tell of fields that change what the rest means, such as that it is a fragment. The
        // words of nobody's flags are private data.
        0 | 1 if flags == [0; 2] => (Inner::from_protocol(protocol)?, BASE + 4 * words as usize),
        4 => (Inner::Ipv4, 0),
        6 => (Inner::Ipv6, 0),
        // Control messages, and variants to come.
        _ => return None,
    };
    let words = if header == 0 { 0 } else { words };
    Some(Contents { inner, start: start + header, end, words })
}
