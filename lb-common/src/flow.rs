//! `FLOWS`: the flow cache, which remembers the backend of flows that the hash alone does not tell:
//! those of slots that have changed hands lately, and those of services that ask for it.
//!
//! A four-way set-associative array; a set is one cache line. There are no locks: an entry is two
//! words, the second carries a check of the first, so that a pair torn by two writers is not
//! taken for an entry. Losing an entry is allowed, inventing one is not.

mod budget;
mod counters;
mod entry;
mod phase;
mod time;

use entry::{Entry, tag};

pub use budget::InsertBudget;
pub use counters::FlowCounters;
pub use entry::Remembered;
pub use phase::Phase;
pub use time::{idle, tick};

const WAYS: usize = 4;

/// What became of a flow that was to be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It had a place already.
    Known,
    /// It got an empty place.
    New,
    /// It got the place of a flow that had been silent for longer than its phase is kept.
    Evicted,
    /// All places are taken by flows that are alive.
    Refused,
}

impl Put {
    /// Whether the flow is remembered.
    #[inline(always)]
    #[must_use]
    pub const fn is_done(self) -> bool {
        !matches!(self, Self::Refused)
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
    /// has been silent for longest beyond the time for which its phase is kept. A flood of new flows
    /// must not push out those that are alive.
    #[inline(always)]
    #[must_use]
    pub fn put(&self, flow: u64, remembered: Remembered) -> Put {
        self.put_among(WAYS, flow, remembered)
    }

    /// As [`FlowSet::put`], but for one place of the set. For flows that strangers can make up at will:
    /// that place stays for those of slots that change hands.
    #[inline(always)]
    #[must_use]
    pub fn put_leaving_room(&self, flow: u64, remembered: Remembered) -> Put {
        self.put_among(WAYS - 1, flow, remembered)
    }

    #[inline(always)]
    fn put_among(&self, ways: usize, flow: u64, remembered: Remembered) -> Put {
        let tag = tag(flow);
        let (mut chosen, mut longest, mut way) = (0, 0, 0);
        while way < WAYS {
            if self.ways[way].is_of(tag) {
                self.ways[way].write(tag, remembered);
                return Put::Known;
            }
            let overdue = self.ways[way].overdue(remembered.seen);
            if way < ways && overdue > longest {
                (chosen, longest) = (way, overdue);
            }
            way += 1;
        }
        if longest == 0 {
            return Put::Refused;
        }
        // The mask shows the verifier that the place is in bounds.
        self.ways[chosen & (WAYS - 1)].write(tag, remembered);
        if longest == entry::EMPTY { Put::New } else { Put::Evicted }
    }

    /// Whether a flow that begins now would find a place beside those that anybody can make up.
    #[inline(always)]
    #[must_use]
    pub fn has_room(&self, now: u16) -> bool {
        let mut way = 0;
        while way < WAYS - 1 {
            if self.ways[way].overdue(now) > 0 {
                return true;
            }
            way += 1;
        }
        false
    }

    /// Remembers the flow in any case: where all places are taken, in that of the flow that has been
    /// silent for longest, and among those of the same tick in one that the flow's hash names.
    #[inline(always)]
    pub fn replace(&self, flow: u64, remembered: Remembered) {
        let tag = tag(flow);
        let (mut chosen, mut longest, mut way) = ((flow >> 20) as usize, 0, 0);
        while way < WAYS {
            if self.ways[way].is_of(tag) {
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
            if entry.get().is_some_and(|(hash, flow)| is_stale(hash, flow)) {
                entry.clear();
            }
        }
    }

    /// Every flow of the set, with the lower bits of its hash, which choose its slot.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Remembered)> + '_ {
        self.ways.iter().filter_map(Entry::get)
    }
}

#[cfg(test)]
mod tests;
