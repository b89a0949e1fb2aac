//! `FLOW_COUNTERS`: how the flow cache does.

use core::cell::Cell;

use super::Put;

/// One value of `FLOW_COUNTERS`, a CPU's own: 32 bytes.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowCounters {
    /// Packets whose flow was remembered.
    pub hits: Cell<u64>,
    /// Flows that got a place.
    pub inserts: Cell<u64>,
    /// Those of them that got the place of a flow that had been silent for too long.
    pub evictions: Cell<u64>,
    /// Flows that got none, for want of budget or of room: they go by the table.
    pub refusals: Cell<u64>,
}

impl FlowCounters {
    /// Counts a packet whose flow was remembered.
    #[inline(always)]
    pub fn hit(&self) {
        add(&self.hits);
    }

    /// Counts what became of a flow that was to be remembered.
    #[inline(always)]
    pub fn count(&self, put: Put) {
        match put {
            Put::Known => {}
            Put::New => add(&self.inserts),
            Put::Evicted => {
                add(&self.inserts);
                add(&self.evictions);
            }
            Put::Refused => add(&self.refusals),
        }
    }
}

#[inline(always)]
fn add(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}
