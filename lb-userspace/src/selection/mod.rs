//! Slot tables: which member owns which part of a service's flows.
//!
//! A table is a pure function of the members, their weights and states, and the key: every load
//! balancer of a group computes the same one, whatever it has seen before. It is made in two
//! layers. The *base* spreads all configured members by their configured weights. Over it lies a
//! *repair*, which moves only the slots of members that may not have them now.
//!
//! No member has more than 2 % above its share, or one slot. To stay near the least movement when
//! the configured pool changes, the base leaves members up to a tenth below theirs, and a repair up
//! to 2 % of that more.

mod base;
mod bounds;
mod load;
mod measures;
mod memo;
mod pool;
mod repair;
mod rotation;
mod shares;
mod turns;
mod visits;

use lb_common::Address;

use pool::Pool;

pub use measures::{Evenness, Movement, evenness, movement};
pub use memo::Memo;
pub use rotation::{rotation, rotation_bits};

/// A backend as the tables see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its own address, unique in the table.
    pub address: Address,
    /// Weight as configured, which shapes the base.
    pub base_weight: u32,
    /// Weight now: zero for members that take no new flows.
    pub weight: u32,
}

/// Least and largest size of a table that follows from the number of members, as binary logarithms.
const BITS: std::ops::RangeInclusive<u8> = 12..=20;

/// Binary logarithm of the size of a table for so many members.
///
/// At least 256 slots for each, so that shares follow weights closely, and up to 2^18 at least four
/// times the square of their number: what a change of the pool moves beyond the least grows with the
/// number of members over the root of the number of slots. In steps of four, so that a pool can
/// grow for long before its table is made anew.
#[must_use]
pub fn size_bits(members: usize) -> u8 {
    let members = members.clamp(1, 1 << 16);
    let wanted = (members * 256).max((4 * members * members).min(1 << 18));
    let bits = wanted.next_power_of_two().trailing_zeros() as u8;
    bits.next_multiple_of(2).clamp(*BITS.start(), *BITS.end())
}

/// The owner of each slot, as an index into `members`; `None` where no member takes new flows.
///
/// `salt` is derived from the secret of the group. The order of `members` does not matter. The size
/// follows from the number of members; see [`table_of`] for another.
#[must_use]
pub fn table(members: &[Member], salt: u64) -> Option<Vec<u16>> {
    table_of(members, salt, size_bits(members.len()))
}

/// As [`table`], with `1 << bits` slots.
#[must_use]
pub fn table_of(members: &[Member], salt: u64, bits: u8) -> Option<Vec<u16>> {
    let pool = Pool::new(members, salt);
    let base = pool.base(salt, bits);
    pool.table(&base, salt)
}

#[cfg(test)]
mod tests;
