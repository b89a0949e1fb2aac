//! The repair: moves the slots of members that are out or over their weight, and no others.
//!
//! Each such slot goes along its own pseudo-random list of members to the first with room. Members
//! have 2 % more room than their exact share: with exact shares one move would push another. Those
//! that have less than their share in the base stand on lists more often, so that lists seldom
//! lead to members without room.

use lb_common::hash;

use super::load::Load;

/// Steps along a slot's list before it takes the first member with room.
const LIST: u32 = 64;

/// Repairs `owners` in place. At least one member has a weight.
pub(super) fn repair(owners: &mut [u16], mut load: Load, salt: u64) {
    let homeless = release(owners, &mut load, salt);
    if !homeless.is_empty() {
        place(owners, &mut load, &homeless, salt);
    }
}

/// Takes slots from members that have too many, and then, while others are short of more than was
/// taken, from those above their exact share. Returns the slots in a fixed order.
fn release(owners: &[u16], load: &mut Load, salt: u64) -> Vec<u32> {
    let surplus = load.surplus();
    let mut held: Vec<Vec<(u64, u32)>> = vec![Vec::new(); surplus.len()];
    if surplus.iter().all(|given| *given == 0) {
        return Vec::new();
    }
    for (slot, owner) in owners.iter().enumerate() {
        if surplus[usize::from(*owner)] > 0 {
            held[usize::from(*owner)].push((hash::spread(salt ^ slot as u64), slot as u32));
        }
    }
    let mut homeless = Vec::new();
    for ((mut slots, given), have) in held.into_iter().zip(&surplus).zip(&mut load.have) {
        // The first by hash: the more a member must give, the more of the same slots.
        slots.sort_unstable();
        homeless.extend(slots.iter().take(*given as usize).map(|(_, slot)| *slot));
        *have -= given;
    }
    homeless.sort_unstable();
    homeless
}

fn place(owners: &mut [u16], load: &mut Load, homeless: &[u32], salt: u64) {
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
/// by hash, so that members stand on it in proportion to their weights, less those that are passed
/// over.
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
        .filter_map(|step| {
            let drawn = hash::spread(start.wrapping_add(u64::from(step)));
            let member = base[drawn as usize & mask];
            load.is_listed(member, (drawn >> 48) as u16).then_some(member)
        })
        .find(|member| fits(load, *member));
    listed.unwrap_or_else(|| {
        let count = load.have.len();
        let first = (start >> 32) as usize % count;
        let mut all = (0..count).map(|step| ((first + step) % count) as u16);
        // The exact shares add up to all slots, so while one is homeless somebody has room.
        all.find(|member| fits(load, *member)).unwrap_or_else(|| load.first_with_share())
    })
}
