//! Slot tables: which member owns which part of a service's flows.
//!
//! A table is a pure function of the members, their weights and states, and the key: every load
//! balancer of a group computes the same one, whatever it has seen before. It is made in two
//! layers. The *base* spreads all configured members by their configured weights. Over it lies a
//! *repair*, which moves only the slots of members that may not have them now.

mod base;
mod repair;
mod shares;

use lb_common::{Address, hash};

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

/// Least and largest size of a table, as binary logarithms.
const BITS: std::ops::RangeInclusive<u8> = 12..=20;

/// Binary logarithm of the size of a table for so many members.
///
/// At least 256 slots for each, so that shares follow weights closely, in steps of four, so that
/// a pool can grow for long before its table is made anew.
#[must_use]
pub fn size_bits(members: usize) -> u8 {
    let wanted = (members.max(1) * 256).next_power_of_two().trailing_zeros() as u8;
    wanted.next_multiple_of(2).clamp(*BITS.start(), *BITS.end())
}

/// The owner of each slot, as an index into `members`; `None` where no member takes new flows.
///
/// `salt` is derived from the secret of the group. The order of `members` does not matter.
#[must_use]
pub fn table(members: &[Member], salt: u64) -> Option<Vec<u16>> {
    if members.iter().all(|member| member.weight == 0) {
        return None;
    }
    let mut order: Vec<u16> = (0..members.len() as u16).collect();
    order.sort_by_key(|index| members[usize::from(*index)].address);
    let sorted: Vec<Member> = order.iter().map(|index| members[usize::from(*index)]).collect();
    let identities: Vec<u64> =
        sorted.iter().map(|member| identity(&member.address, salt)).collect();

    let mut owners = base::spread(&sorted, &identities, size_bits(members.len()));
    repair::repair(&mut owners, &sorted, salt);
    for owner in &mut owners {
        *owner = order[usize::from(*owner)];
    }
    Some(owners)
}

/// A number that stands for the member in all pseudo-random choices: nothing local, no history.
fn identity(address: &Address, salt: u64) -> u64 {
    let start = hash::spread(salt ^ u64::from(address.is_ipv6()));
    address.words().into_iter().fold(start, |hash, word| hash::spread(hash ^ u64::from(word)))
}

#[cfg(test)]
mod tests;
