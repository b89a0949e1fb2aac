use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

const SALT: u64 = 0x5eed;

fn member(number: u32, base_weight: u32, weight: u32) -> Member {
    let address = IpAddr::from(Ipv4Addr::from(0x0a00_0100 + number));
    Member { address: address.into(), base_weight, weight }
}

fn equal(count: u32) -> Vec<Member> {
    (0..count).map(|number| member(number, 100, 100)).collect()
}

fn counts(owners: &[u16], members: usize) -> Vec<u32> {
    let mut counts = vec![0; members];
    owners.iter().for_each(|owner| counts[usize::from(*owner)] += 1);
    counts
}

fn moved(before: &[u16], after: &[u16]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// The share of each member with a weight lies within 2 % of it, or within one slot.
fn assert_fair(owners: &[u16], members: &[Member]) {
    let total: f64 = members.iter().map(|member| f64::from(member.weight)).sum();
    for (count, member) in counts(owners, members.len()).into_iter().zip(members) {
        let ideal = owners.len() as f64 * f64::from(member.weight) / total;
        let error = (f64::from(count) - ideal).abs();
        assert!(error <= (ideal * 0.02).max(1.0) + 1e-9, "{count} of {ideal}: {member:?}");
    }
}

#[test]
fn without_weight_there_is_no_table() {
    assert_eq!(table(&[], SALT), None);
    assert_eq!(table(&[member(1, 100, 0)], SALT), None);
}

#[test]
fn one_member_has_everything() {
    let owners = table(&equal(1), SALT).expect("a table");
    assert!(owners.iter().all(|owner| *owner == 0));
}

#[test]
fn the_base_is_exact_to_a_slot() {
    for count in [1, 2, 3, 7, 16, 100, 256] {
        let owners = table(&equal(count), SALT).expect("a table");
        let counts = counts(&owners, count as usize);
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(most.expect("members") - least.expect("members") <= 1, "{counts:?}");
    }
}

#[test]
fn another_salt_gives_another_table() {
    let one = table(&equal(4), 1).expect("a table");
    let two = table(&equal(4), 2).expect("a table");
    assert!(moved(&one, &two) > one.len() / 2);
}

#[test]
fn one_leaves_and_only_its_slots_move_and_it_returns_to_them() {
    for count in [2, 4, 10, 100, 1000] {
        let before = table(&equal(count), SALT).expect("a table");
        let mut members = equal(count);
        members[1].weight = 0;
        let after = table(&members, SALT).expect("a table");
        for (before, after) in before.iter().zip(&after) {
            assert!(*before == 1 || before == after);
            assert_ne!(*after, 1);
        }
        assert_fair(&after, &members);
        members[1].weight = 100;
        assert_eq!(table(&members, SALT).expect("a table"), before);
    }
}

#[test]
fn a_weight_changes_and_little_more_than_the_least_moves() {
    for (weight, count) in [(50_u32, 10_usize), (200, 10), (50, 100), (200, 100)] {
        let before = table(&equal(count as u32), SALT).expect("a table");
        let mut members = equal(count as u32);
        members[3].weight = weight;
        let after = table(&members, SALT).expect("a table");
        assert_fair(&after, &members);
        let share = |weight: f64, total: f64| before.len() as f64 * weight / total;
        let total = 100.0 * count as f64;
        let least = (share(f64::from(weight), total - 100.0 + f64::from(weight))
            - share(100.0, total))
        .abs();
        let moved = moved(&before, &after) as f64;
        assert!(moved <= least * 1.05 + 2.0, "{count} members, {weight}: {moved} of {least}");
    }
}

#[test]
fn a_member_that_the_base_does_not_know_gets_its_share() {
    let mut members = equal(5);
    members[2].base_weight = 0;
    assert_fair(&table(&members, SALT).expect("a table"), &members);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn permuted_members_give_the_same_table(
        weights in prop::collection::vec((0_u32..500, 0_u32..500), 1..40),
        seed in any::<u64>(),
    ) {
        let members: Vec<Member> = weights.iter().enumerate()
            .map(|(number, (base, now))| member(number as u32, *base, *now)).collect();
        let mut permuted = members.clone();
        permuted.sort_by_key(|member| hash::spread(seed ^ u64::from(member.address.words()[0])));
        let by_address = |members: &[Member]| table(members, SALT)
            .map(|owners| owners.iter().map(|owner| members[usize::from(*owner)].address)
                .collect::<Vec<_>>());
        prop_assert_eq!(by_address(&members), by_address(&permuted));
    }

    #[test]
    fn shares_follow_weights_whatever_is_out(
        weights in prop::collection::vec((10_u32..400, any::<bool>()), 1..60),
    ) {
        let members: Vec<Member> = weights.iter().enumerate()
            .map(|(number, (weight, out))| member(number as u32, *weight, if *out { 0 } else { *weight }))
            .collect();
        if let Some(owners) = table(&members, SALT) {
            assert_fair(&owners, &members);
        }
    }

    #[test]
    fn shares_follow_weights_that_the_operator_changed(
        weights in prop::collection::vec((0_u32..400, 50_u32..400), 1..40),
    ) {
        let members: Vec<Member> = weights.iter().enumerate()
            .map(|(number, (base, now))| member(number as u32, *base, *now)).collect();
        assert_fair(&table(&members, SALT).expect("a table"), &members);
    }
}
