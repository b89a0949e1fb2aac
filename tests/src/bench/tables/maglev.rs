//! Maglev as in the paper (Eisenbud et al., NSDI 2016), to compare with: a prime number of slots,
//! and each member in turn takes the next free slot of its permutation.
//!
//! The paper leaves weights open; here a member has a turn whenever its weight has added up to the
//! largest.

use lb_common::hash;
use lb_userspace::selection::Member;

const NOBODY: u16 = u16::MAX;

/// The owner of each slot. Members without weight of now have no part, as if they were not there.
pub(super) fn table(members: &[Member], salt: u64, slots: u32) -> Vec<u16> {
    let words = |member: &Member| u64::from(member.address.words()[0]);
    let mut lists: Vec<List> = (0_u16..)
        .zip(members)
        .filter(|(_, member)| member.weight > 0)
        .map(|(index, member)| List::new(index, member.weight, salt ^ words(member), slots))
        .collect();
    let heaviest = lists.iter().map(|list| list.weight).max().unwrap_or(1);
    let mut owners = vec![NOBODY; slots as usize];
    let mut free = slots;
    while free > 0 {
        for list in &mut lists {
            list.saved += list.weight;
            if list.saved < heaviest || free == 0 {
                continue;
            }
            list.saved -= heaviest;
            let slot = list.next_free(&owners, slots);
            owners[slot] = list.member;
            free -= 1;
        }
    }
    owners
}

/// The least prime that is not below `slots`.
pub(super) fn prime(slots: u32) -> u32 {
    let is_prime = |number: &u32| {
        (2..).take_while(|by| by * by <= *number).all(|by| !number.is_multiple_of(by))
    };
    (slots..).find(is_prime).unwrap_or(slots)
}

/// A member's permutation of the slots.
struct List {
    member: u16,
    weight: u32,
    saved: u32,
    next: u32,
    skip: u32,
}

impl List {
    fn new(member: u16, weight: u32, identity: u64, slots: u32) -> Self {
        let (offset, skip) = (hash::spread(identity), hash::spread(!identity));
        Self {
            member,
            weight,
            saved: 0,
            next: (offset % u64::from(slots)) as u32,
            skip: (skip % u64::from(slots - 1)) as u32 + 1,
        }
    }

    fn next_free(&mut self, owners: &[u16], slots: u32) -> usize {
        loop {
            let slot = self.next as usize;
            self.next = (self.next + self.skip) % slots;
            if owners[slot] == NOBODY {
                return slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pool, *};

    #[test]
    fn shares_follow_weights() {
        assert_eq!([4096, 65_536, 1 << 18].map(prime), [4099, 65_537, 262_147]);
        let members = pool::pool(14, pool::Weights::Mixed);
        let owners = table(&members, 1, 4099);
        let count = |member| owners.iter().filter(|owner| **owner == member).count();
        // Weights 25 and 200 of 1450.
        assert!((68..=74).contains(&count(0)) || (280..=286).contains(&count(0)), "{}", count(0));
        assert!(!owners.contains(&NOBODY));
    }
}
