//! How many slots each member may have, and must.

use lb_common::hash;

use super::shares::{shares, total};

/// How far above its exact share a member may lie, in percent.
const ABOVE: u64 = 2;

/// The exact share of each member in whole slots, and the most that it may have.
#[derive(Debug)]
pub(super) struct Bounds {
    /// By largest remainder; all add up to the size of the table.
    pub(super) exact: Vec<u32>,
    /// 2 % above the share, but never less than `exact`.
    ///
    /// Rounded up for some and down for others, by their identity: if all were rounded alike, a
    /// change of the pool would now and then give one slot more to all that are at their limit.
    pub(super) most: Vec<u32>,
}

impl Bounds {
    pub(super) fn new(weights: &[u32], identities: &[u64], size: u32) -> Self {
        let exact = shares(weights, size);
        let total = u128::from(total(weights).max(1));
        let limit = |(weight, identity): (&u32, &u64)| {
            let limit = u128::from(size) * u128::from(*weight) * u128::from(100 + ABOVE);
            // In parts of 2^16, less one slot, plus the member's own part of a slot.
            let part = u128::from(hash::spread(*identity) & 0xffff);
            (((limit << 16) / (100 * total) + part) >> 16).saturating_sub(1) as u32
        };
        let limits = weights.iter().zip(identities).map(limit);
        let most = limits.zip(&exact).map(|(limit, exact)| limit.max(*exact)).collect();
        Self { exact, most }
    }
}
