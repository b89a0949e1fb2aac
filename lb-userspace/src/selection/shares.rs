//! Whole numbers of slots in proportion to weights.

/// Splits `slots` in proportion to the weights, by largest remainder, ties to the first: each share
/// is its exact value rounded down or up, and all add up. All weights zero: all shares zero.
pub(super) fn shares(weights: &[u32], slots: u32) -> Vec<u32> {
    let total = total(weights);
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &u32| u64::from(*weight) * u64::from(slots);
    let mut shares: Vec<u32> =
        weights.iter().map(|weight| (exact(weight) / total) as u32).collect();
    let left = slots - shares.iter().sum::<u32>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|index| std::cmp::Reverse(exact(&weights[*index]) % total));
    for index in by_remainder.into_iter().take(left as usize) {
        shares[index] += 1;
    }
    shares
}

/// The sum of weights.
pub(super) fn total<'a>(weights: impl IntoIterator<Item = &'a u32>) -> u64 {
    weights.into_iter().map(|weight| u64::from(*weight)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_follow_the_weights() {
        assert_eq!(shares(&[1, 1, 1], 4096), [1366, 1365, 1365]);
        assert_eq!(shares(&[0, 0], 16), [0, 0]);
        assert_eq!(shares(&[1, 3, 0], 4096), [1024, 3072, 0]);
        assert_eq!(shares(&[65_535, 1], 4096).iter().sum::<u32>(), 4096);
    }
}
