//! Internet checksums (RFC 1071) as remainders, from the definition and not from the packet core.

use super::headers::{Headers, word};

/// Protocol numbers, IANA.
pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// What a checksum says of the bytes that it covers.
///
/// The sum of all words modulo 65,535, the checksum's own among them: 0 if it is right. A change
/// of the bytes with the right update of the checksum keeps the remainder, whatever it is, so
/// that what was wrong stays wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remainder(u32);

impl Remainder {
    /// The remainder of bytes with a right checksum in them.
    pub(super) const RIGHT: Self = Self(0);

    /// The remainder of bytes; an odd last one is padded.
    pub(super) fn of(parts: &[&[u8]]) -> Self {
        let words = parts.iter().flat_map(|part| part.chunks(2));
        let sum: u64 =
            words.map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum();
        Self((sum % 0xffff) as u32)
    }
}

/// The checksum of the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// UDP's field is zero: there is none (RFC 768).
    Absent,
    /// There is one.
    Present(Remainder),
    /// None that can be judged: another protocol, or a part of a datagram.
    Unknown,
}

impl Checksum {
    /// The checksum of a packet. Of a first fragment's it is the remainder of the part that is
    /// there; of a later one's nothing is known.
    pub(super) fn of(headers: &Headers<'_>) -> Self {
        let Some(payload) = headers.payload().filter(|_| headers.fragment_offset == 0) else {
            return Self::Unknown;
        };
        let covered = match (headers.protocol, payload) {
            (UDP, [_, _, _, _, _, _, 0, 0, ..]) => return Self::Absent,
            // UDP has a length of its own, and the bytes behind it are not covered.
            (UDP, [_, _, _, _, high, low, _, _, ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                &payload[..length.min(payload.len())]
            }
            (TCP, _) if payload.len() >= 20 => payload,
            (ICMP, _) if payload.len() >= 8 && !headers.ipv6 => {
                return Self::Present(Remainder::of(&[payload]));
            }
            (ICMPV6, _) if payload.len() >= 8 && headers.ipv6 => payload,
            _ => return Self::Unknown,
        };
        // RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1.
        let pseudo = [u16::from(headers.protocol), covered.len() as u16].map(u16::to_be_bytes);
        let addresses = [headers.source(), headers.destination()];
        let parts = [addresses[0], addresses[1], pseudo.as_flattened(), covered];
        Self::Present(Remainder::of(&parts))
    }
}

/// Whether the UDP length, or TCP's header length, fits the packet. True for other protocols.
pub(super) fn has_sound_transport(headers: &Headers<'_>) -> bool {
    let Some(payload) = headers.payload() else { return false };
    match headers.protocol {
        UDP => word(payload, 4).is_some_and(|length| usize::from(length) == payload.len()),
        TCP => {
            let length = payload.get(12).map(|byte| usize::from(byte >> 4) * 4);
            length.is_some_and(|length| length >= 20 && length <= payload.len())
        }
        ICMP | ICMPV6 => payload.len() >= 8,
        _ => true,
    }
}
