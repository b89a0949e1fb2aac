//! One remembered flow: two words.

use super::{Phase, time};
use crate::{layout, shared::SharedU64};

/// What the cache knows of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Index of the backend.
    pub backend: u16,
    /// The backend's generation when the flow was remembered.
    pub generation: u16,
    /// Tick of the flow's last packet, modulo 65,536.
    pub seen: u16,
    /// How far its life has come.
    pub phase: Phase,
}

/// How overdue an empty place is: more than any that is taken.
pub(super) const EMPTY: u32 = u32::MAX;

/// The tag is the flow's hash. The value holds, from its lowest bit, 16 bits of the backend, 16 of
/// its generation, 16 of the last tick, 2 of the phase and 14 of a check of the tag.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct Entry {
    tag: SharedU64,
    value: SharedU64,
}

impl Entry {
    #[inline(always)]
    pub(super) fn is_of(&self, tag: u64) -> bool {
        self.tag.load() == tag
    }

    #[inline(always)]
    pub(super) fn read(&self, tag: u64) -> Option<Remembered> {
        if !self.is_of(tag) {
            return None;
        }
        let value = layout::flow_of_memory(self.value.load());
        (value >> 50 == check(tag)).then_some(Remembered {
            backend: value as u16,
            generation: (value >> 16) as u16,
            seen: (value >> 32) as u16,
            phase: Phase::from_bits(value >> 48),
        })
    }

    /// The flow that has the place, with its tag.
    pub(super) fn get(&self) -> Option<(u64, Remembered)> {
        let tag = self.tag.load();
        (tag != 0).then(|| self.read(tag)).flatten().map(|found| (tag, found))
    }

    #[inline(always)]
    pub(super) fn write(&self, tag: u64, flow: Remembered) {
        let value = u64::from(flow.backend)
            | u64::from(flow.generation) << 16
            | u64::from(flow.seen) << 32
            | (flow.phase as u64) << 48
            | check(tag) << 50;
        self.value.store(layout::flow_in_memory(value));
        self.tag.store(tag);
    }

    pub(super) fn clear(&self) {
        self.tag.store(0);
    }

    /// How long ago the entry was used, in ticks; an empty one is older than any.
    #[inline(always)]
    pub(super) fn idle(&self, now: u16) -> u32 {
        if self.is_of(0) {
            return EMPTY;
        }
        let value = layout::flow_of_memory(self.value.load());
        u32::from(time::idle(now, (value >> 32) as u16))
    }

    /// For how many ticks others may have had the place; 0 while the flow keeps it.
    #[inline(always)]
    pub(super) fn overdue(&self, now: u16) -> u32 {
        if self.is_of(0) {
            return EMPTY;
        }
        let value = layout::flow_of_memory(self.value.load());
        let idle = u32::from(time::idle(now, (value >> 32) as u16));
        let kept = Phase::from_bits(value >> 48).kept();
        // Not below zero, without a branch.
        let overdue = idle.wrapping_sub(kept);
        overdue & ((overdue >> 31).wrapping_sub(1))
    }
}

/// Zero marks an empty entry, so bit 63, which chooses neither slot nor set, is always set.
#[inline(always)]
pub(super) const fn tag(flow: u64) -> u64 {
    flow | 1 << 63
}

#[inline(always)]
const fn check(tag: u64) -> u64 {
    tag.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 50
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = Entry::default();
        assert_eq!(entry.get(), None);
        for phase in Phase::ALL {
            let flow = Remembered { backend: 0xfffe, generation: 0x8001, seen: 0x7fff, phase };
            entry.write(tag(7), flow);
            assert_eq!(entry.get(), Some((tag(7), flow)));
        }
        entry.clear();
        assert_eq!(entry.get(), None);
    }

    #[test]
    fn a_torn_pair_is_no_entry() {
        let entry = Entry::default();
        let flow = Remembered { backend: 1, generation: 1, seen: 1, phase: Phase::Open };
        entry.write(tag(1), flow);
        entry.tag.store(tag(2));
        assert_eq!((entry.read(tag(2)), entry.get()), (None, None));
    }
}
