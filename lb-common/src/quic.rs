//! The server's identifier in QUIC connection identifiers, as draft-ietf-quic-load-balancers lays
//! them out in the clear.

use crate::{frame::Frame, policy::ServerIdLayout};

/// First bit of long headers, RFC 8999 section 5.1.
const LONG: u8 = 0x80;
/// Flags and version before the length of a long header's destination connection identifier.
const LONG_LEN: usize = 6;
/// Connection identifiers of version 1 have up to 20 bytes, RFC 9000 section 17.2. The mask shows
/// the verifier that an offset is small.
const OFFSET_MASK: u16 = 31;
/// Longest identifier of a server.
const LONGEST_ID: u16 = 8;

/// The server's identifier in the packet at `offset` bytes from the start of the frame, as a
/// big-endian number.
#[inline(always)]
pub(crate) fn server_id<F: Frame>(
    frame: &F,
    offset: usize,
    layout: ServerIdLayout,
) -> Option<(u64, u32)> {
    // Two bytes, since the verifier does not follow the check of a single one.
    let [first, _] = *frame.header::<[u8; 2]>(offset)?;
    let (before, length) = (layout.offset & OFFSET_MASK, layout.length);
    // First of all: sums with what is no length of an identifier are none.
    if length == 0 || length > LONGEST_ID {
        return None;
    }
    let connection = if first & LONG != 0 {
        let header = frame.header::<[u8; LONG_LEN]>(offset)?;
        if u16::from(header[5]) < before + length {
            return None;
        }
        offset + LONG_LEN
    } else {
        // Short headers do not tell the length; the layout does.
        offset + 1
    };
    // More than that follows where an identifier may end: RFC 9001 section 5.4.2 wants 20 bytes
    // behind the connection identifier.
    let bytes = frame.header::<[u8; LONGEST_ID as usize]>(connection + usize::from(before))?;
    let id = u64::from_be_bytes(*bytes) >> (8 * u32::from(LONGEST_ID - length));
    Some((id, u32::from(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostFrame;

    const LAYOUT: ServerIdLayout = ServerIdLayout { offset: 1, length: 2 };

    fn of(bytes: &[u8]) -> Option<(u64, u32)> {
        server_id(&HostFrame::new(bytes), 0, LAYOUT)
    }

    #[test]
    fn both_header_forms_name_a_server() {
        let tail = [9; 20];
        assert_eq!(of(&[&[0x40, 7, 0xab, 0xcd][..], &tail].concat()), Some((0xabcd, 2)));
        let long = [0xc0, 0, 0, 0, 1, 4, 7, 0xab, 0xcd, 9];
        assert_eq!(of(&[&long[..], &tail].concat()), Some((0xabcd, 2)));
    }

    #[test]
    fn what_is_too_short_names_none() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[0x40, 7, 0xab, 0xcd]), None);
        let short = [0xc0, 0, 0, 0, 1, 2, 7, 0xab, 0xcd];
        assert_eq!(of(&[&short[..], &[9; 20]].concat()), None, "a shorter identifier");
    }

    #[test]
    fn a_layout_without_a_sound_length_names_none() {
        for length in [0, 9, u16::MAX] {
            let layout = ServerIdLayout { offset: 1, length };
            assert_eq!(server_id(&HostFrame::new(&[0x40; 30]), 0, layout), None);
        }
    }
}
