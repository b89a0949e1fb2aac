//! The mark of a packet that another backend may have to get: that backend's address, as private
//! data behind the base header of GUE (draft-ietf-intarea-gue-09, variant 0).
//!
//! ```text
//! |      'l'      |      'b'      |     kind      | 4 or 6 |
//! | address of the other backend: 1 word of IPv4, 4 of IPv6 |
//! ```
//! The address has the outer packet's family, so that its destination can be replaced by it. The base
//! header has no flag for private data; receivers that do not know it skip it by the header's length.

use crate::{
    address::{self, Address},
    backend::Backend,
    frame::Frame,
};

/// The far end may give the packet on to the other backend.
pub(crate) const OTHER: u8 = 1;
/// The packet comes from the far end that it was sent to at first, and stays where it is.
pub(crate) const SPENT: u8 = 2;

/// Bytes of the word before the address.
pub(crate) const HEAD: usize = 4;

/// The word before the address, as a number.
#[inline(always)]
pub(crate) const fn head(kind: u8, ipv6: bool) -> u32 {
    u32::from_be_bytes([b'l', b'b', kind, if ipv6 { 6 } else { 4 }])
}

/// Bytes of a mark.
#[inline(always)]
pub(crate) const fn length(ipv6: bool) -> usize {
    words(ipv6) as usize * 4
}

/// Words of a mark.
#[inline(always)]
pub(crate) const fn words(ipv6: bool) -> u32 {
    if ipv6 { 5 } else { 2 }
}

/// Writes the mark that names a backend.
#[inline(always)]
pub(crate) fn write<F: Frame>(frame: &mut F, offset: usize, other: &Backend) -> Option<()> {
    let (ipv6, words) = (other.is_ipv6(), *other.destination());
    *frame.header_mut::<[u8; HEAD]>(offset)? = head(OTHER, ipv6).to_be_bytes();
    if ipv6 {
        *frame.header_mut::<[u8; 16]>(offset + HEAD)? = address::octets(words);
    } else {
        *frame.header_mut::<[u8; 4]>(offset + HEAD)? = words[0].to_ne_bytes();
    }
    Some(())
}

/// The sum of the mark that names a backend with an IPv6 address, as of 16-bit words.
#[inline(always)]
pub(crate) fn sum_over_ipv6(other: &Backend) -> u32 {
    let head = head(OTHER, true);
    (head >> 16) + (head & 0xffff) + sum(&Address::from_words(*other.destination(), true))
}

/// The sum of an address, as of 16-bit words.
#[inline(always)]
pub(crate) const fn sum(address: &Address) -> u32 {
    let [a, b, c, d] = address.words();
    half_words(a) + half_words(b) + half_words(c) + half_words(d)
}

#[inline(always)]
const fn half_words(word: u32) -> u32 {
    let number = u32::from_be(word);
    (number >> 16) + (number & 0xffff)
}

/// The address of this family at `offset`.
#[inline(always)]
pub(crate) fn address<F: Frame>(frame: &F, offset: usize, ipv6: bool) -> Option<Address> {
    let words = if ipv6 {
        address::words(*frame.header::<[u8; 16]>(offset)?)
    } else {
        [u32::from_ne_bytes(*frame.header::<[u8; 4]>(offset)?), 0, 0, 0]
    };
    Some(Address::from_words(words, ipv6))
}
