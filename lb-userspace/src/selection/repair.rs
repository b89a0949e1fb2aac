//! The repair: moves the slots of members that are out or over their weight, and no others.
//!
//! Each such slot goes along its own pseudo-random list of members to the first with room. Members
//! have 2 % more room than their exact share: with exact shares one move would push another.

use lb_common::hash;

use super::{Member, shares::shares};

/// How far a share may lie from its exact value, in percent.
const SLACK: u64 = 2;
/// Steps along a slot's list before it takes the first member with room.
const LIST: u32 = 64;

/// Repairs `owners` in place. At least one member has a weight.
pub(super) fn repair(owners: &mut [u16], members: &[Member], salt: u64) {
    let weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
    let mut load = Load::new(&weights, owners);
    let homeless = release(owners, &mut load, salt);
    place(owners, &mut load, homeless, salt);
}

/// How many slots each member has, should have and may have.
struct Load {
    have: Vec<u32>,
    exact: Vec<u32>,
    most: Vec<u32>,
    least: Vec<u32>,
}

impl Load {
    fn new(weights: &[u32], owners: &[u16]) -> Self {
        let mut have = vec![0; weights.len()];
        for owner in owners {
            have[usize::from(*owner)] += 1;
        }
        let slots = owners.len() as u64;
        let total = 100 * weights.iter().map(|weight| u64::from(*weight)).sum::<u64>();
        let exact = shares(weights, owners.len() as u32);
        let bound = |share: &u32, bound: u64| u32::try_from(bound).unwrap_or(*share);
        let most = |(weight, share): (&u32, &u32)| {
            bound(share, slots * u64::from(*weight) * (100 + SLACK) / total).max(*share)
        };
        let least = |(weight, share): (&u32, &u32)| {
            bound(share, (slots * u64::from(*weight) * (100 - SLACK)).div_ceil(total)).min(*share)
        };
        Self {
            most: weights.iter().zip(&exact).map(most).collect(),
            least: weights.iter().zip(&exact).map(least).collect(),
            have,
            exact,
        }
    }

    fn has_room(&self, member: u16) -> bool {
        self.have[usize::from(member)] < self.most[usize::from(member)]
    }

    fn is_short(&self, member: u16) -> bool {
        self.have[usize::from(member)] < self.least[usize::from(member)]
    }

    /// Slots that members must still get to have their least.
    fn shortage(&self) -> u32 {
        self.have.iter().zip(&self.least).map(|(have, least)| least.saturating_sub(*have)).sum()
    }
}

/// Takes slots from members that have too many, and then, while others are short of more than was
/// taken, from those above their exact share. Returns the slots in a fixed order.
fn release(owners: &[u16], load: &mut Load, salt: u64) -> Vec<u32> {
    let mut surplus: Vec<u32> =
        load.have.iter().zip(&load.most).map(|(have, most)| have.saturating_sub(*most)).collect();
    let mut missing = load.shortage().saturating_sub(surplus.iter().sum());
    for ((have, exact), given) in load.have.iter().zip(&load.exact).zip(&mut surplus) {
        let above = (have - *given).saturating_sub(*exact);
        let more = above.min(missing);
        *given += more;
        missing -= more;
    }
    let mut held: Vec<Vec<(u64, u32)>> = vec![Vec::new(); surplus.len()];
    for (slot, owner) in owners.iter().enumerate() {
        if surplus[usize::from(*owner)] > 0 {
            held[usize::from(*owner)].push((hash::spread(salt ^ slot as u64), slot as u32));
        }
    }
    let mut homeless = Vec::new();
    for (member, mut slots) in held.into_iter().enumerate() {
        // The first by hash: the more a member must give, the more of the same slots.
        slots.sort_unstable();
        let given = surplus[member] as usize;
        homeless.extend(slots.iter().take(given).map(|(_, slot)| *slot));
        load.have[member] -= surplus[member];
    }
    homeless.sort_unstable();
    homeless
}

fn place(owners: &mut [u16], load: &mut Load, homeless: Vec<u32>, salt: u64) {
    let mut shortage = load.shortage();
    let base = owners.to_vec();
    for (placed, slot) in homeless.iter().enumerate() {
        let left = (homeless.len() - placed) as u32;
        // Once there are only as many slots left as members are short of, those get them.
        let only_short = shortage >= left;
        let member = choose(&base, load, *slot, salt, |load, member| {
            if only_short { load.is_short(member) } else { load.has_room(member) }
        });
        shortage -= u32::from(load.is_short(member));
        load.have[usize::from(member)] += 1;
        owners[*slot as usize] = member;
    }
}

/// The first member on the slot's list that `fits`. The list is made of the owners of slots chosen
/// by hash, so that members stand on it in proportion to their weights.
fn choose(
    base: &[u16],
    load: &Load,
    slot: u32,
    salt: u64,
    fits: impl Fn(&Load, u16) -> bool,
) -> u16 {
    let start = hash::spread(salt.rotate_left(32) ^ u64::from(slot));
    let mask = base.len() - 1;
    let listed = (0..LIST)
        .map(|step| base[hash::spread(start.wrapping_add(u64::from(step))) as usize & mask])
        .find(|member| fits(load, *member));
    listed.unwrap_or_else(|| {
        let count = load.have.len();
        let first = (start >> 32) as usize % count;
        let mut all = (0..count).map(|step| ((first + step) % count) as u16);
        // The exact shares add up to all slots, so while one is homeless somebody has room.
        all.find(|member| fits(load, *member)).unwrap_or_else(|| first_with_weight(load))
    })
}

fn first_with_weight(load: &Load) -> u16 {
    load.exact.iter().position(|share| *share > 0).unwrap_or(0) as u16
}
