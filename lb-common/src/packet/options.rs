//! IPv4 options, one after the other. Only source routes matter.

use network_types::ip::Ipv4Hdr;

use super::outline::Outline;
use crate::{frame::Frame, verdict::Verdict};

/// Loose and strict source route, RFC 791 section 3.1.
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;
const END: u8 = 0;
const NOTHING: u8 = 1;

/// Walks over the next option. True if there is another one behind it.
///
/// A demanded route is a flaw: RFC 7126 sections 4.3 and 4.4 have such packets dropped. Options
/// that contradict their lengths end the walk; what follows them nobody can read.
#[inline(always)]
pub(crate) fn walk<F: Frame>(frame: &F, outline: &mut Outline) -> bool {
    let start = outline.layout.network() + Ipv4Hdr::LEN + usize::from(outline.walked & 0x3f);
    // Two bytes, since the verifier does not follow the check of a single one. The transport header
    // is behind the last.
    let Some([kind, length]) = frame.header::<[u8; 2]>(start) else { return false };
    let length = match *kind {
        LOOSE_ROUTE | STRICT_ROUTE => {
            outline.flaw = Some(Verdict::SourceRoute);
            return false;
        }
        END => return false,
        NOTHING => 1,
        _ if *length < 2 => return false,
        _ => usize::from(*length),
    };
    outline.walked += length as u16;
    start + length < outline.layout.transport()
}
