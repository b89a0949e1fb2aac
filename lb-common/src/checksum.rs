//! The Internet checksum, RFC 1071, in the few forms that the packet path needs.

/// Folds a sum of 16-bit words to 16 bits with end-around carry. Exact for any `u32`.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The sum of `bytes` as big-endian 16-bit words, folded; an odd last byte is padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut pairs = bytes.chunks_exact(2);
    let words = pairs
        .by_ref()
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .fold(0, |sum, word| u32::from(fold(sum + word)));
    let last = pairs.remainder().first().map_or(0, |byte| u32::from(*byte) << 8);
    fold(words + last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_of_rfc_1071_section_3() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn odd_length_pads_with_zero() {
        assert_eq!(sum(&[0x12, 0x34, 0x56]), sum(&[0x12, 0x34, 0x56, 0x00]));
    }

    #[test]
    fn fold_is_exact_at_the_edges() {
        assert_eq!(fold(u32::MAX), 0xffff);
        assert_eq!(fold(0x1_ffff), 1);
        assert_eq!(fold(0), 0);
    }
}
