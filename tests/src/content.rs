//! Content of downloads, which both ends can compute.
//!
//! The receiver compares every byte with what belongs there, so a lost, doubled or swapped piece
//! shows itself; a checksum would only say that something is wrong.

/// The bytes of a download from `offset` on.
#[must_use]
pub fn bytes(offset: u64, length: usize) -> Vec<u8> {
    (offset..).take(length).map(byte).collect()
}

/// The first byte of `piece`, which starts at `offset` of a download, that is wrong.
#[must_use]
pub fn first_difference(offset: u64, piece: &[u8]) -> Option<u64> {
    (offset..).zip(piece).find(|&(at, &found)| byte(at) != found).map(|(at, _)| at)
}

/// Multiplied by an odd constant, the upper bits depend on all of the position: no period that a
/// swap of equal pieces could hide in.
fn byte(position: u64) -> u8 {
    (position.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_together() {
        let whole = bytes(0, 1000);
        assert_eq!(whole[300..], bytes(300, 700));
        assert_eq!(first_difference(300, &whole[300..]), None);
    }

    #[test]
    fn a_shifted_piece_is_found() {
        assert_eq!(first_difference(1448, &bytes(0, 1448)), Some(1448));
    }
}
