//! `SLOTS`: which backend a part of a service's flows belongs to.

use crate::shared::SharedU32;

/// One slot: its backend, and for a while after a change the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Backend of new flows. 0 is none.
    pub current: u16,
    /// Backend of flows that began before the last change and are not in the flow cache.
    /// 0: the slot has kept its backend, and the hash alone decides.
    pub previous: u16,
}

impl Slot {
    /// A slot without a past.
    #[must_use]
    pub const fn settled(current: u16) -> Self {
        Self { current, previous: 0 }
    }

    /// Whether flows must be told apart by age.
    #[inline(always)]
    #[must_use]
    pub const fn is_disputed(self) -> bool {
        self.previous != 0
    }

    #[inline(always)]
    const fn from_word(word: u32) -> Self {
        Self { current: word as u16, previous: (word >> 16) as u16 }
    }

    const fn word(self) -> u32 {
        self.current as u32 | (self.previous as u32) << 16
    }
}

/// Slots in one value of the map. An array rounds each value up to 8 bytes, so one slot a value
/// would waste half.
pub const SLOTS_PER_LINE: u32 = 16;

/// One value of `SLOTS`: 64 bytes, a cache line.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SlotLine {
    slots: [SharedU32; SLOTS_PER_LINE as usize],
}

impl SlotLine {
    /// Which line holds slot `index`.
    #[inline(always)]
    #[must_use]
    pub const fn of(index: u32) -> u32 {
        index / SLOTS_PER_LINE
    }

    /// Slot `index`, of which the lower bits count.
    #[inline(always)]
    #[must_use]
    pub fn slot(&self, index: u32) -> Slot {
        Slot::from_word(self.cell(index).load())
    }

    /// Replaces slot `index`, of which the lower bits count, in one store.
    pub fn set(&self, index: u32, slot: Slot) {
        self.cell(index).store(slot.word());
    }

    #[inline(always)]
    fn cell(&self, index: u32) -> &SharedU32 {
        // The mask keeps the index in bounds, which both compilers and the verifier see.
        &self.slots[(index & (SLOTS_PER_LINE - 1)) as usize]
    }
}
