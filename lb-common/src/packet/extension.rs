//! IPv6 extension headers, RFC 8200 section 4, one after the other.

use network_types::ip::Ipv6Hdr;

use super::{
    Layout,
    outline::{Outline, Piece},
};
use crate::{frame::Frame, verdict::Verdict};

/// Most headers, and most bytes of headers, that are walked over. More is not for a service.
const MOST: u16 = 6;
const LONGEST: usize = 256;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// The unit of lengths, and the least that a header has.
const UNIT: usize = 8;

/// Whether the number is that of an extension header, not of a transport.
#[inline(always)]
pub(super) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6
    )
}

/// Walks over the extension header at the transport offset. True if there is another one behind it.
/// The verdict is that of a packet whose chain is too long, is cut short, or leads it on to another
/// destination (a routing header with segments left).
#[inline(always)]
pub(crate) fn walk<F: Frame>(frame: &F, outline: &mut Outline) -> Result<bool, Verdict> {
    let (protocol, start) = (outline.protocol, outline.layout.transport());
    let header = frame.header::<[u8; UNIT]>(start).ok_or(Verdict::Truncated)?;
    let [next, size, _, segments_left, ..] = *header;
    if outline.walked == MOST || (protocol == ROUTING && segments_left != 0) {
        return Err(Verdict::ExtensionHeader);
    }
    let length = match protocol {
        FRAGMENT => {
            outline.piece = piece(header);
            UNIT
        }
        // RFC 4302 section 2.2: in words of four bytes, less two.
        AUTHENTICATION => (usize::from(size) + 2) * 4,
        _ => (usize::from(size) + 1) * UNIT,
    };
    let transport = start + length;
    if transport - outline.layout.network() > Ipv6Hdr::LEN + LONGEST {
        return Err(Verdict::ExtensionHeader);
    }
    outline.walked += 1;
    outline.protocol = next;
    outline.layout = Layout::new(outline.layout.network(), transport);
    // What follows in a later fragment is payload, whatever it looks like.
    Ok(is_extension(next) && outline.piece.offset == 0)
}

/// What a fragment header says, RFC 8200 section 4.5.
#[inline(always)]
pub(super) const fn piece(header: &[u8; UNIT]) -> Piece {
    let [_, _, high, low, a, b, c, d] = *header;
    let field = u16::from_be_bytes([high, low]);
    Piece {
        offset: (field & 0xfff8) as u32,
        more: field & 1 != 0,
        id: u32::from_be_bytes([a, b, c, d]),
    }
}

/// The transport of a quoted packet with at most a fragment header: its protocol and offset.
/// `None` for later fragments.
#[inline(always)]
pub(super) fn quoted<F: Frame>(frame: &F, start: usize, first: u8) -> Option<(u8, usize)> {
    if first != FRAGMENT {
        return Some((first, start));
    }
    let header = frame.header::<[u8; UNIT]>(start)?;
    (piece(header).offset == 0).then_some((header[0], start + UNIT))
}
