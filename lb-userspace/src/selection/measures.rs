//! How good a table is, and how good the step from one to the next.

use std::collections::BTreeMap;

use lb_common::Address;

use super::{Member, shares::total};

/// How closely slots follow weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evenness {
    /// Slots of the member with the most for its weight, over its exact share: 1 is exact.
    pub fullest: f64,
    /// Slots of the member with the fewest for its weight, over its exact share.
    pub emptiest: f64,
}

/// What lies between two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// Slots that are compared: those of the larger table.
    pub slots: u32,
    /// Slots whose owner is another now, or nobody.
    pub moved: u32,
    /// The fewest slots that had to move for the weights' sake, whatever the tables are.
    pub least: u32,
}

impl Movement {
    /// How many times the least was moved; `None` if nothing had to.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.least > 0).then(|| f64::from(self.moved) / f64::from(self.least))
    }
}

/// How even a table is. `owners` are indices into `members`; those beyond it are nobody's.
///
/// `None` if there are no slots or no member has a weight. Members without weight are passed over.
#[must_use]
pub fn evenness(owners: &[u16], members: &[Member]) -> Option<Evenness> {
    let total = total(members.iter().map(|member| &member.weight));
    if owners.is_empty() || total == 0 {
        return None;
    }
    let mut have = vec![0_u32; members.len()];
    for owner in owners {
        if let Some(count) = have.get_mut(usize::from(*owner)) {
            *count += 1;
        }
    }
    let weighted = members.iter().zip(have).filter(|(member, _)| member.weight > 0);
    let over_share = weighted.map(|(member, have)| f64::from(have) / share(member, total, owners));
    let start = Evenness { fullest: 0.0, emptiest: f64::INFINITY };
    Some(over_share.fold(start, |seen, ratio| Evenness {
        fullest: seen.fullest.max(ratio),
        emptiest: seen.emptiest.min(ratio),
    }))
}

/// What moved from one table to the next, and what had to.
///
/// Members are the same if their addresses are; owners are indices into the members beside them.
/// Tables of different size are compared slot by slot of the larger one: in the smaller, flows of
/// its slot `s` are in slot `s` modulo the size. A slot without an owner before has nothing to
/// lose and does not move. No slots at all stand for nobody, before as after.
///
/// The least is what members lose of their exact shares by weight, summed. Tables follow weights to
/// within 2 %, so small changes can do with less.
#[must_use]
pub fn movement(
    before_members: &[Member],
    before_owners: &[u16],
    after_members: &[Member],
    after_owners: &[u16],
) -> Movement {
    let slots = before_owners.len().max(after_owners.len());
    let moved = (0..slots)
        .filter(|slot| {
            let before = owner(before_members, before_owners, *slot);
            before.is_some() && before != owner(after_members, after_owners, *slot)
        })
        .count();
    Movement {
        slots: slots as u32,
        moved: moved as u32,
        least: least(
            &by_address(before_members, before_owners),
            &by_address(after_members, after_owners),
            slots,
        ),
    }
}

fn owner<'a>(members: &'a [Member], owners: &[u16], slot: usize) -> Option<&'a Address> {
    let owner = owners.get(slot % owners.len().max(1))?;
    members.get(usize::from(*owner)).map(|member| &member.address)
}

/// The part of all slots that each member should have.
fn by_address(members: &[Member], owners: &[u16]) -> BTreeMap<Address, f64> {
    let total = total(members.iter().map(|member| &member.weight));
    if owners.is_empty() || total == 0 {
        return BTreeMap::new();
    }
    let part = |member: &Member| f64::from(member.weight) / total as f64;
    members.iter().map(|member| (member.address, part(member))).collect()
}

fn least(before: &BTreeMap<Address, f64>, after: &BTreeMap<Address, f64>, slots: usize) -> u32 {
    let lost = |(address, part): (&Address, &f64)| {
        (part - after.get(address).copied().unwrap_or_default()).max(0.0)
    };
    let sum: f64 = before.iter().map(lost).sum();
    // What errors of rounding add up to is no slot.
    (sum * slots as f64 - 1e-6).ceil().max(0.0) as u32
}

fn share(member: &Member, total: u64, owners: &[u16]) -> f64 {
    owners.len() as f64 * f64::from(member.weight) / total as f64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn member(number: u8, weight: u32) -> Member {
        let address = std::net::IpAddr::from(Ipv4Addr::new(10, 0, 1, number)).into();
        Member { address, base_weight: weight, weight }
    }

    #[test]
    fn evenness_is_measured_against_each_weight() {
        let members = [member(1, 100), member(2, 300), member(3, 0)];
        let seen = evenness(&[0, 0, 1, 1, 1, 1, 1, 1], &members);
        assert_eq!(seen, Some(Evenness { fullest: 1.0, emptiest: 1.0 }));
        let seen = evenness(&[0, 0, 0, 1, 1, 1, 1, 9], &members);
        assert_eq!(seen, Some(Evenness { fullest: 1.5, emptiest: 4.0 / 6.0 }));
        assert_eq!(evenness(&[], &members), None);
        assert_eq!(evenness(&[2, 2], &members[2..]), None);
    }

    #[test]
    fn one_of_four_leaves_and_a_quarter_has_to_move() {
        let before = [member(1, 1), member(2, 1), member(3, 1), member(4, 1)];
        let after = [member(1, 1), member(2, 1), member(4, 1)];
        // The fourth is the third now: that is no movement.
        let seen = movement(&before, &[0, 1, 2, 3, 0, 1, 2, 3], &after, &[0, 1, 0, 2, 0, 1, 1, 2]);
        assert_eq!(seen, Movement { slots: 8, moved: 2, least: 2 });
        assert_eq!(seen.ratio(), Some(1.0));
    }

    #[test]
    fn what_moves_between_members_that_stay_is_counted_too() {
        let before = [member(1, 1), member(2, 1)];
        let after = [member(1, 1), member(2, 3)];
        let seen = movement(&before, &[0, 1, 0, 1], &after, &[1, 0, 1, 1]);
        assert_eq!(seen, Movement { slots: 4, moved: 3, least: 1 });
        assert_eq!(movement(&before, &[0, 1], &before, &[0, 1]).ratio(), None);
    }

    #[test]
    fn tables_of_two_sizes_are_compared_at_the_larger() {
        let members = [member(1, 1), member(2, 1)];
        let seen = movement(&members, &[0, 1], &members, &[0, 1, 1, 0]);
        assert_eq!(seen, Movement { slots: 4, moved: 2, least: 0 });
        let seen = movement(&members, &[0, 1, 0, 1], &members, &[0, 1]);
        assert_eq!(seen, Movement { slots: 4, moved: 0, least: 0 });
    }

    #[test]
    fn the_last_to_leave_loses_all_and_the_first_to_come_takes_from_nobody() {
        let members = [member(1, 1)];
        let seen = movement(&members, &[0, 0], &[member(1, 0)], &[]);
        assert_eq!(seen, Movement { slots: 2, moved: 2, least: 2 });
        let seen = movement(&[], &[], &members, &[0, 0]);
        assert_eq!(seen, Movement { slots: 2, moved: 0, least: 0 });
    }
}
