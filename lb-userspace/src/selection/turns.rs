//! Turns in proportion to shares.

/// Who is next, `size` times: a member with share `q` has its `k`th turn at the time `(k + 1/2) / q`,
/// so that heavy members have theirs evenly between those of light ones. The shares add up to
/// `size`. Sorted by counting, in time proportional to it.
pub(super) fn turns(shares: &[u32], size: u32) -> Vec<u16> {
    let time = |turn: u32, share: u32| {
        ((2 * u64::from(turn) + 1) * u64::from(size) / (2 * u64::from(share))) as usize
    };
    let mut starts = vec![0_u32; size as usize + 1];
    for share in shares {
        for turn in 0..*share {
            starts[time(turn, *share) + 1] += 1;
        }
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut turns = vec![0; size as usize];
    for (member, share) in shares.iter().enumerate() {
        for turn in 0..*share {
            let place = &mut starts[time(turn, *share)];
            turns[*place as usize] = member as u16;
            *place += 1;
        }
    }
    turns
}
