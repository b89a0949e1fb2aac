//! Whose a flow of a disputed slot is: that of the backend that the slot has now, or of the one that
//! it had before.

use crate::{
    backend::Stance,
    flow::{FlowSet, Phase, Put, Remembered},
    packet::{Age, Packet},
    settings::Settings,
    slot::Slot,
    tables::Tables,
};

/// Whose a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Index of the backend; 0 is nobody.
    pub(crate) backend: u16,
    /// Index of the other backend that may have it, should this one not know it; 0 is nobody.
    pub(crate) other: u16,
}

impl Owner {
    /// There is no doubt.
    #[inline(always)]
    pub(crate) const fn certain(backend: u16) -> Self {
        Self { backend, other: 0 }
    }

    /// The owner of a flow of `slot` that goes on.
    #[inline(always)]
    pub(crate) const fn of(slot: Slot, backend: u16) -> Self {
        let other = if backend == slot.current { slot.previous } else { slot.current };
        Self { backend, other: if other == backend { 0 } else { other } }
    }
}

/// The owner of a flow in a disputed slot.
///
/// A flow that begins now belongs to the current backend and is remembered. One that is not
/// remembered began before the change and belongs to the previous one. Where the cache refuses to
/// remember, a new flow goes where its next packets will go: to the backend that an earlier flow or
/// its own first SYN left in the cache, else to the previous one. UDP has no beginning and follows
/// the table.
#[inline(always)]
pub(crate) fn owner<T: Tables>(
    tables: &T,
    settings: &Settings,
    slot: Slot,
    packet: &Packet,
    flow: u64,
) -> Owner {
    // A service whose last backends drain has nobody for new flows: nothing to remember.
    let begins = matches!(packet.age, Age::Begins);
    if matches!(packet.age, Age::Unknown) || (begins && slot.current == 0) {
        return Owner::certain(slot.current);
    }
    let Some(set) = tables.flow_set(FlowSet::of(flow, settings.flow_mask)) else {
        return Owner::of(slot, slot.previous);
    };
    let now = tables.now();
    let found = set.get(flow).filter(|found| is_alive(tables, *found));
    if !begins && let Some(found) = found {
        if let Some(after) = renewed(tables, found, packet, now) {
            // It has a place, unless another CPU has just taken it.
            let _ = set.put(flow, after);
        }
        return Owner::of(slot, found.backend);
    }
    let backend = if begins { slot.current } else { slot.previous };
    let put = remember(tables, settings, set, flow, packet, (backend, now));
    if put.is_done() {
        return if begins { Owner::certain(backend) } else { Owner::of(slot, backend) };
    }
    Owner::of(slot, found.map_or(slot.previous, |found| found.backend))
}

/// The owner of a flow in a disputed slot that an ICMP error quotes, which is not remembered for
/// that.
#[inline(always)]
pub(crate) fn former<T: Tables>(
    tables: &T,
    settings: &Settings,
    slot: Slot,
    packet: &Packet,
    flow: u64,
) -> Owner {
    if matches!(packet.age, Age::Unknown) {
        return Owner::certain(slot.current);
    }
    let set = tables.flow_set(FlowSet::of(flow, settings.flow_mask));
    let found = set.and_then(|set| set.get(flow)).filter(|found| is_alive(tables, *found));
    Owner::certain(found.map_or(slot.previous, |found| found.backend))
}

/// Whether the remembered backend is still the one that was remembered.
#[inline(always)]
pub(crate) fn is_alive<T: Tables>(tables: &T, found: Remembered) -> bool {
    tables.backend(found.backend).is_some_and(|backend| {
        backend.generation() == found.generation && backend.forward().is_some()
    })
}

/// What is to be remembered of a flow after one more packet of it, which is counted as found; `None`
/// if that is there already.
#[inline(always)]
pub(crate) fn renewed<T: Tables>(
    tables: &T,
    found: Remembered,
    packet: &Packet,
    now: u16,
) -> Option<Remembered> {
    if let Some(counters) = tables.flow_counters() {
        counters.hit();
    }
    let phase = found.phase.after(packet.flags);
    (found.seen != now || found.phase as u8 != phase as u8).then_some(Remembered {
        seen: now,
        phase,
        ..found
    })
}

/// Remembers a flow, if the budget and the cache have room for it. One of a backend whose flows are
/// over has nothing to be remembered.
#[inline(always)]
fn remember<T: Tables>(
    tables: &T,
    settings: &Settings,
    set: &FlowSet,
    flow: u64,
    packet: &Packet,
    (backend, now): (u16, u16),
) -> Put {
    let Some(entry) = tables.backend(backend) else { return Put::Refused };
    if matches!(entry.stance(), Stance::Resets) {
        return Put::Known;
    }
    let phase = Phase::first(packet.flags);
    let remembered = Remembered { backend, generation: entry.generation(), seen: now, phase };
    let has_budget =
        tables.insert_budget().is_some_and(|budget| budget.take(now, settings.inserts_per_tick));
    let put = if has_budget { set.put(flow, remembered) } else { Put::Refused };
    count(tables, put)
}

/// Counts what became of a flow that was to be remembered.
#[inline(always)]
pub(crate) fn count<T: Tables>(tables: &T, put: Put) -> Put {
    if let Some(counters) = tables.flow_counters() {
        counters.count(put);
    }
    put
}
