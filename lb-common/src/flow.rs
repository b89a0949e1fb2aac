//! `FLOWS`: the flow cache, which remembers the backend of flows whose slot has changed lately.
//!
//! A four-way set-associative array; a set is one cache line. There are no locks: an entry is two
//! words, the second carries a check of the first, so that a pair torn by two writers is not
//! taken for an entry. Losing an entry is allowed, inventing one is not.

use core::cell::Cell;

use crate::shared::SharedU64;

/// Kernel ticks (jiffies) in one tick of the cache, as a shift: about a second at 250 Hz.
pub const TICK: u32 = 8;

const WAYS: usize = 4;

/// Ticks for which a flow keeps its place after a packet: about four minutes at 250 Hz.
pub const KEPT: u32 = 256;

/// What the cache knows of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Index of the backend.
    pub backend: u16,
    /// The backend's generation when the flow was remembered.
    pub generation: u16,
    /// Tick of the flow's last packet, modulo 65,536.
    pub seen: u16,
}

#[repr(C)]
#[derive(Debug, Default)]
struct Entry {
    tag: SharedU64,
    value: SharedU64,
}

impl Entry {
    #[inline(always)]
    fn read(&self, tag: u64) -> Option<Remembered> {
        if self.tag.load() != tag {
            return None;
        }
        let value = self.value.load();
        ((value >> 48) as u16 == check(tag)).then_some(Remembered {
            backend: value as u16,
            generation: (value >> 16) as u16,
            seen: (value >> 32) as u16,
        })
    }

    #[inline(always)]
    fn write(&self, tag: u64, flow: Remembered) {
        let value = u64::from(flow.backend)
            | u64::from(flow.generation) << 16
            | u64::from(flow.seen) << 32
            | u64::from(check(tag)) << 48;
        self.value.store(value);
        self.tag.store(tag);
    }

    /// How long ago the entry was used, in ticks; an empty one is older than any.
    #[inline(always)]
    fn idle(&self, now: u16) -> u32 {
        if self.tag.load() == 0 {
            return u32::MAX;
        }
        u32::from(now.wrapping_sub((self.value.load() >> 32) as u16))
    }
}

/// One value of `FLOWS`: 64 bytes, a cache line.
#[repr(C)]
#[derive(Debug, Default)]
pub struct FlowSet {
    ways: [Entry; WAYS],
}

const _: () = assert!(size_of::<FlowSet>() == 64);

impl FlowSet {
    /// Number of flows in a set.
    pub const FLOWS: u32 = WAYS as u32;

    /// The set of a flow in a cache of `mask + 1` sets. It takes other bits than the slot does.
    #[inline(always)]
    #[must_use]
    pub const fn of(flow: u64, mask: u32) -> u32 {
        (flow >> 32) as u32 & mask
    }

    /// What is remembered of the flow.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, flow: u64) -> Option<Remembered> {
        let tag = tag(flow);
        let mut way = 0;
        while way < WAYS {
            if let Some(found) = self.ways[way].read(tag) {
                return Some(found);
            }
            way += 1;
        }
        None
    }

    /// Remembers the flow in the place that it has, in an empty one, or in that of the flow that
    /// has been silent for longest. False if all others have been seen within [`KEPT`] ticks: a
    /// flood of new flows must not push out those that are alive.
    #[inline(always)]
    #[must_use]
    pub fn put(&self, flow: u64, remembered: Remembered) -> bool {
        self.put_among(WAYS, flow, remembered)
    }

    /// As [`FlowSet::put`], in the first half of the set only. For flows that strangers can make up
    /// at will: the other half stays for those of slots that change hands.
    #[inline(always)]
    #[must_use]
    pub fn put_in_half(&self, flow: u64, remembered: Remembered) -> bool {
        self.put_among(WAYS / 2, flow, remembered)
    }

    #[inline(always)]
    fn put_among(&self, ways: usize, flow: u64, remembered: Remembered) -> bool {
        let tag = tag(flow);
        let (mut chosen, mut longest, mut way) = (0, KEPT, 0);
        while way < WAYS {
            if self.ways[way].tag.load() == tag {
                self.ways[way].write(tag, remembered);
                return true;
            }
            let idle = self.ways[way].idle(remembered.seen);
            if way < ways && idle > longest {
                (chosen, longest) = (way, idle);
            }
            way += 1;
        }
        if longest == KEPT {
            return false;
        }
        // The mask shows the verifier that the place is in bounds.
        self.ways[chosen & (WAYS - 1)].write(tag, remembered);
        true
    }

    /// Remembers the flow in any case: where all places are taken, in that of the flow that has been
    /// silent for longest, and among those of the same tick in one that the flow's hash names.
    #[inline(always)]
    pub fn replace(&self, flow: u64, remembered: Remembered) {
        let tag = tag(flow);
        let (mut chosen, mut longest, mut way) = ((flow >> 20) as usize, 0, 0);
        while way < WAYS {
            if self.ways[way].tag.load() == tag {
                chosen = way;
                break;
            }
            let idle = self.ways[way].idle(remembered.seen);
            if idle > longest {
                (chosen, longest) = (way, idle);
            }
            way += 1;
        }
        // The mask shows the verifier that the place is in bounds.
        self.ways[chosen & (WAYS - 1)].write(tag, remembered);
    }

    /// Forgets flows, told by their hash (its lower bits, which choose the slot) and what is
    /// remembered of them.
    pub fn forget(&self, is_stale: impl Fn(u64, Remembered) -> bool) {
        for entry in &self.ways {
            let tag = entry.tag.load();
            if tag != 0 && entry.read(tag).is_some_and(|flow| is_stale(tag, flow)) {
                entry.tag.store(0);
            }
        }
    }

    /// Every flow of the set, with the lower bits of its hash, which choose its slot.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Remembered)> + '_ {
        self.ways.iter().filter_map(|entry| {
            let tag = entry.tag.load();
            (tag != 0).then(|| entry.read(tag)).flatten().map(|found| (tag, found))
        })
    }
}

/// Zero marks an empty entry, so bit 63, which chooses neither slot nor set, is always set.
#[inline(always)]
const fn tag(flow: u64) -> u64 {
    flow | 1 << 63
}

#[inline(always)]
const fn check(tag: u64) -> u16 {
    (tag.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 48) as u16
}

/// How many flows one CPU may still remember in this tick: one value of `INSERT_BUDGET`.
///
/// A flood of new flows spends the budget and from then on goes its way by the table alone, so
/// that it cannot push out the flows that are remembered.
#[repr(C)]
#[derive(Debug, Default)]
pub struct InsertBudget {
    tick: Cell<u32>,
    spent: Cell<u32>,
}

impl InsertBudget {
    /// Takes one insertion out of the budget of the tick `now`, if there is one left.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, now: u16, allowance: u32) -> bool {
        // One more than the tick, so that a zeroed budget is of no tick.
        let tick = u32::from(now) + 1;
        let spent = if self.tick.get() == tick { self.spent.get() } else { 0 };
        self.tick.set(tick);
        let granted = spent < allowance;
        self.spent.set(spent + u32::from(granted));
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn to(backend: u16, seen: u16) -> Remembered {
        Remembered { backend, generation: 1, seen }
    }

    #[test]
    fn remembers_and_replaces() {
        let set = FlowSet::default();
        assert_eq!(set.get(42), None);
        assert!(set.put(42, to(3, 10)));
        assert!(set.put(42, to(4, 11)));
        assert_eq!(set.get(42), Some(to(4, 11)));
        assert_eq!(set.iter().count(), 1);
    }

    #[test]
    fn a_zero_hash_is_a_flow_like_any_other() {
        let set = FlowSet::default();
        assert_eq!(set.get(0), None);
        assert!(set.put(0, to(7, 0)));
        assert_eq!(set.get(0), Some(to(7, 0)));
    }

    #[test]
    fn the_longest_silent_makes_room_across_the_wrap() {
        let set = FlowSet::default();
        for (flow, seen) in [(1, 65_130), (2, 65_535), (3, 3), (4, 1)] {
            assert!(set.put(flow, to(1, seen)));
        }
        assert!(set.put(5, to(1, 4)));
        assert_eq!(set.get(1), None);
        assert!([2, 3, 4, 5].iter().all(|flow| set.get(*flow).is_some()));
    }

    #[test]
    fn flows_that_are_alive_are_not_pushed_out() {
        let set = FlowSet::default();
        for flow in 1..=4 {
            assert!(set.put(flow, to(1, 100)));
        }
        assert!(!set.put(5, to(1, 100 + KEPT as u16)));
        assert!(set.put(2, to(3, 300)), "a flow that is known is not new");
        assert!(set.put(5, to(1, 101 + KEPT as u16)));
        assert_eq!((set.get(2), set.get(5)), (Some(to(3, 300)), Some(to(1, 101 + KEPT as u16))));
    }

    #[test]
    fn flows_that_anybody_can_make_up_leave_half_of_a_set() {
        let set = FlowSet::default();
        let found = (1..=9).filter(|flow| set.put_in_half(*flow, to(1, 100))).count();
        assert_eq!(found, 2);
        assert!(set.put(10, to(2, 100)) && set.put(11, to(2, 100)));
        assert!(!set.put(12, to(2, 100)));
        assert!(set.put_in_half(10, to(3, 101)), "a flow that is known keeps its place");
        assert_eq!(set.get(10), Some(to(3, 101)));
    }

    #[test]
    fn what_replaces_always_has_a_place() {
        let set = FlowSet::default();
        for flow in 1..=1000_u64 {
            let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            set.replace(hash, to(flow as u16, 100));
            assert_eq!(set.get(hash), Some(to(flow as u16, 100)));
        }
        assert_eq!(set.iter().count(), WAYS);
        set.replace(7, to(1, 101));
        set.replace(8, to(1, 102));
        assert_eq!(set.get(7), Some(to(1, 101)), "the longest silent goes first");
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let set = FlowSet::default();
        assert!(set.put(1, to(1, 1)) && set.put(2, to(2, 1)));
        set.forget(|_, flow| flow.backend == 1);
        assert_eq!((set.get(1), set.get(2)), (None, Some(to(2, 1))));
    }

    #[test]
    fn a_torn_pair_is_no_entry() {
        let set = FlowSet::default();
        assert!(set.put(1, to(1, 1)));
        set.ways[0].tag.store(tag(2));
        assert_eq!(set.get(2), None);
        assert_eq!(set.get(1), None);
    }

    #[test]
    fn the_budget_ends_and_comes_back() {
        let budget = InsertBudget::default();
        assert_eq!((0..5).filter(|_| budget.take(0, 3)).count(), 3);
        assert_eq!((0..5).filter(|_| budget.take(1, 3)).count(), 3);
        assert!(!budget.take(1, 0));
    }
}
