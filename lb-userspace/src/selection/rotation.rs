//! Turns: in which order members are next, where no hash decides.

use super::{shares::shares, turns::turns};

/// Binary logarithms of the least and the largest number of turns.
const BITS: std::ops::RangeInclusive<u8> = 10..=18;

/// Binary logarithm of the number of turns of so many members: at least 64 for each, so that turns
/// follow weights closely.
#[must_use]
pub fn rotation_bits(members: usize) -> u8 {
    let wanted = (members.max(1) * 64).next_power_of_two().trailing_zeros() as u8;
    wanted.clamp(*BITS.start(), *BITS.end())
}

/// Whose turn it is, as indices of members, `1 << rotation_bits` times: as often as their weights
/// say, and each as evenly as that goes. Empty if nobody has a weight.
#[must_use]
pub fn rotation(weights: &[u32]) -> Vec<u16> {
    if weights.iter().all(|weight| *weight == 0) {
        return Vec::new();
    }
    let size = 1 << rotation_bits(weights.len());
    let with_weight: Vec<u16> =
        (0..weights.len() as u16).filter(|member| weights[usize::from(*member)] > 0).collect();
    let heaviest = weights.iter().max();
    if with_weight.iter().all(|member| weights.get(usize::from(*member)) == heaviest) {
        // Largest remainders would give some a turn more, which shifts theirs against the others'.
        return with_weight.into_iter().cycle().take(size as usize).collect();
    }
    turns(&shares(weights, size), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_members_take_turns() {
        let turns = rotation(&[7, 7, 7]);
        assert_eq!(turns.len(), 1024);
        assert_eq!(turns[..6], [0, 1, 2, 0, 1, 2]);
        let longest = turns.chunk_by(|one, other| one == other).map(<[u16]>::len).max();
        assert_eq!(longest, Some(1));
    }

    #[test]
    fn heavy_members_take_theirs_between_those_of_light_ones() {
        let turns = rotation(&[1, 3, 5]);
        for nine in turns.chunks_exact(9) {
            let count = |member| nine.iter().filter(|turn| **turn == member).count();
            assert!((0..=2).contains(&count(0)) && (2..=4).contains(&count(1)), "{nine:?}");
            assert!((4..=6).contains(&count(2)), "{nine:?}");
        }
        let count = |member| turns.iter().filter(|turn| **turn == member).count();
        assert_eq!([0, 1, 2].map(count), [114, 341, 569]);
    }

    #[test]
    fn who_has_no_weight_has_no_turn() {
        assert!(!rotation(&[1, 0, 1]).contains(&1));
        assert!(rotation(&[0, 0]).is_empty());
        assert!(rotation(&[]).is_empty());
    }

    #[test]
    fn many_members_have_a_turn_each() {
        let turns = rotation(&vec![1; 65_535]);
        assert_eq!(turns.len(), 1 << 18);
        assert_eq!(turns.iter().collect::<std::collections::BTreeSet<_>>().len(), 65_535);
    }
}
