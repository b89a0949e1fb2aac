//! Congestion marks of a tunnel's way, RFC 6040.

/// The ECN field in a traffic class, RFC 3168 section 5.
pub(super) const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The ECN field of what comes out of the tunnel, RFC 6040 section 4.2. `None` is a packet to be
/// dropped: congestion was met, and its sender would not understand the mark.
#[inline(always)]
pub(super) const fn merge(inner: u8, outer: u8) -> Option<u8> {
    match (inner, outer) {
        (NOT_ECT, CE) => None,
        (NOT_ECT, _) => Some(NOT_ECT),
        (_, CE) => Some(CE),
        (ECT_0, ECT_1) => Some(ECT_1),
        _ => Some(inner),
    }
}
