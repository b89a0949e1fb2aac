//! What a slot remembers of its past when its owner changes.

use lb_common::Slot;

/// The slots of a new table, given those of the old one and the new owners.
///
/// `serves` tells whether flows still find a backend: one that keeps them, or tells clients that they
/// are over, not one whose flows are forgotten. Tables are powers of two in size and a
/// slot is the lower bits of the flow's hash, so slot `s` of a larger table held flows of slot
/// `s mod size` of a smaller one.
pub(super) fn next_slots(old: &[Slot], owners: &[u16], serves: impl Fn(u16) -> bool) -> Vec<Slot> {
    if old.is_empty() {
        return without_past(owners);
    }
    // A table that is to shrink keeps its size, its new owners repeated, as long as its slots differ
    // in their past: a smaller one could not tell their flows apart.
    let size = owners.len().max(old.len());
    let slot = |index: usize| {
        let owner = owners[index & (owners.len() - 1)];
        next_slot(old[index & (old.len() - 1)], owner, &serves)
    };
    let mut slots: Vec<Slot> = (0..size).map(slot).collect();
    if !slots.iter().any(|slot| slot.is_disputed()) {
        slots.truncate(owners.len());
    }
    slots
}

/// The slots of a service that has nobody for new flows: those of the old table, as long as any of
/// them leads to a backend that still serves the flows that it has; else none. `server` is any of
/// these, 0 if there is none: a disputed slot has somebody, or the cache would not be asked.
pub(super) fn last_slots(old: &[Slot], serves: impl Fn(u16) -> bool, server: u16) -> Vec<Slot> {
    let slot = |old: &Slot| {
        let slot = next_slot(*old, NOBODY, &serves);
        if old.is_disputed() && !slot.is_disputed() {
            Slot { current: NOBODY, previous: server }
        } else {
            slot
        }
    };
    let slots: Vec<Slot> = old.iter().map(slot).collect();
    if slots.iter().any(|slot| slot.is_disputed()) { slots } else { Vec::new() }
}

/// The slots of a service whose flows nothing tells apart by age.
pub(super) fn without_past(owners: &[u16]) -> Vec<Slot> {
    owners.iter().copied().map(Slot::settled).collect()
}

/// The slots of a service whose flows have all been remembered and are not any more: whoever is not
/// remembered stays where it is.
pub(super) fn doubted(old: &[Slot]) -> Vec<Slot> {
    let doubt = |slot: &Slot| Slot {
        previous: if slot.is_disputed() { slot.previous } else { slot.current },
        ..*slot
    };
    old.iter().map(doubt).collect()
}

/// The index that no backend has: packets that begin a flow are dropped for want of a backend.
const NOBODY: u16 = 0;

/// Flows that have sent nothing since a dispute began are not in the flow cache and belong to the
/// owner at its beginning: `previous` stays as long as that one serves, however often the current
/// owner changes. All younger flows are in the cache, so a dispute never ends by a change.
fn next_slot(old: Slot, owner: u16, serves: impl Fn(u16) -> bool) -> Slot {
    let previous = if old.is_disputed() {
        if serves(old.previous) {
            old.previous
        } else if serves(old.current) {
            old.current
        } else {
            owner
        }
    } else if old.current != owner && old.current != 0 && serves(old.current) {
        old.current
    } else {
        0
    };
    Slot { current: owner, previous }
}

/// The slots of the same table once the flows from before the change are gone, except for those
/// that are to `stay` disputed.
pub(super) fn settled(slots: &[Slot], stay: impl Fn(usize, &Slot) -> bool) -> Vec<Slot> {
    let settle = |(index, slot): (usize, &Slot)| {
        if stay(index, slot) { *slot } else { Slot::settled(slot.current) }
    };
    slots.iter().enumerate().map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u16 = 1;
    const B: u16 = 2;
    const C: u16 = 3;

    fn next(old: (u16, u16), owner: u16, serving: &[u16]) -> (u16, u16) {
        let old = Slot { current: old.0, previous: old.1 };
        let slot = next_slot(old, owner, |backend| serving.contains(&backend));
        (slot.current, slot.previous)
    }

    #[test]
    fn an_unchanged_slot_has_no_past() {
        assert_eq!(next((A, 0), A, &[A]), (A, 0));
    }

    #[test]
    fn a_change_keeps_the_owner_that_serves_and_forgets_the_one_that_does_not() {
        assert_eq!(next((A, 0), B, &[A, B]), (B, A));
        assert_eq!(next((A, 0), B, &[B]), (B, 0));
    }

    #[test]
    fn a_second_change_keeps_the_first_owner() {
        assert_eq!(next((B, A), C, &[A, B, C]), (C, A));
    }

    #[test]
    fn the_first_owner_returns_and_flows_of_the_second_are_still_told_apart() {
        assert_eq!(next((B, A), A, &[A, B]), (A, A));
    }

    #[test]
    fn the_first_owner_fails_and_the_cache_is_still_asked() {
        assert_eq!(next((B, A), B, &[B]), (B, B));
        assert_eq!(next((B, A), C, &[C]), (C, C));
    }

    #[test]
    fn without_anybody_for_new_flows_old_ones_stay() {
        let old = [Slot::settled(A), Slot { current: B, previous: C }];
        let slots = last_slots(&old, |backend| backend != B, A);
        let expected = [(0, A), (0, C)];
        assert_eq!(slots, expected.map(|(current, previous)| Slot { current, previous }));
        assert_eq!(last_slots(&old, |_| false, NOBODY), []);
        // Flows of A may be remembered in the second one, where it was in between.
        let slots = last_slots(&old, |backend| backend == A, A);
        let expected = [(0, A), (0, A)];
        assert_eq!(slots, expected.map(|(current, previous)| Slot { current, previous }));
    }

    #[test]
    fn a_table_that_grows_inherits_by_lower_bits() {
        let old = [Slot::settled(A), Slot::settled(B)];
        let slots = next_slots(&old, &[A, A, C, B], |_| true);
        let expected = [(A, 0), (A, B), (C, A), (B, 0)];
        assert_eq!(slots, expected.map(|(current, previous)| Slot { current, previous }));
    }

    #[test]
    fn a_table_that_shrinks_keeps_every_flow_and_its_size_until_it_has_no_past() {
        let old = [A, B, C, B].map(Slot::settled);
        let slots = next_slots(&old, &[A, B], |_| true);
        let expected = [(A, 0), (B, 0), (A, C), (B, 0)];
        assert_eq!(slots, expected.map(|(current, previous)| Slot { current, previous }));
        let settled = settled(&slots, |_, _| false);
        assert_eq!(next_slots(&settled, &[A, B], |_| true), [A, B].map(Slot::settled));
    }

    #[test]
    fn settling_spares_what_must_stay() {
        let slots = [Slot { current: B, previous: A }, Slot { current: B, previous: C }];
        let after = settled(&slots, |_, slot| slot.previous == A);
        assert_eq!(after, [slots[0], Slot::settled(B)]);
    }
}
