//! Whose a flow of a disputed slot is: that of the backend that the slot has now, or of the one that
//! it had before.

use crate::{
    backend::{Backend, Stance},
    flow::{self, FlowSet, Phase, Put, Remembered},
    forward::Forward,
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
/// remember, a new flow goes where its next packets will go: to the `stray`'s backend. A SYN that
/// comes again is `again`'s. UDP has no beginning and follows the table.
#[inline(always)]
pub(crate) fn owner<T: Tables>(
    tables: &T,
    settings: &Settings,
    slot: Slot,
    packet: &Packet,
    flow: u64,
    stray: impl Fn(&FlowSet, u16) -> u16,
    again: impl Fn(u16) -> Owner,
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
    let known = set.get(flow);
    if let Some(found) = known.filter(|found| is_alive(tables, *found)) {
        if !begins {
            if let Some(after) = renewed(tables, found, packet, now) {
                // It has a place, unless another CPU has just taken it.
                let _ = set.put(flow, after);
            }
            return Owner::of(slot, found.backend);
        }
        if is_sent_again(tables, found, now) {
            return again(found.backend);
        }
    }
    let backend = if begins { slot.current } else { stray(set, now) };
    if !takes_part(tables, backend) {
        return Owner::certain(backend);
    }
    let remembered = remembered(tables, packet, backend, now);
    let has_budget = known.is_some()
        || tables.insert_budget().is_some_and(|budget| budget.take(now, settings.inserts_per_tick));
    let put = match (has_budget, begins) {
        (false, _) => Put::Refused,
        (true, true) => set.put(flow, remembered),
        // Anybody can make up what is not remembered.
        (true, false) => set.put_leaving_room(flow, remembered),
    };
    match (count(tables, put).is_done(), begins) {
        (true, true) => Owner::certain(backend),
        (false, true) => Owner::certain(stray(set, now)),
        (_, false) => Owner::of(slot, backend),
    }
}

/// Whose flows of a disputed slot are that are not remembered: the previous backend's.
///
/// Where that one's flows are over, they are told so, unless they may be younger than the change all
/// the same: because the cache has no room for what begins, or by GUE, where another balancer may
/// have let them begin. Then they are the current backend's, which resets what it does not know.
#[inline(always)]
pub(crate) fn stray<T: Tables>(
    tables: &T,
    settings: &Settings,
    slot: Slot,
    set: &FlowSet,
    now: u16,
) -> u16 {
    if !slot.is_disputed() {
        return slot.current;
    }
    if slot.current == 0 || takes_part(tables, slot.previous) {
        return slot.previous;
    }
    let may_be_younger = tables
        .insert_budget()
        .is_none_or(|budget| budget.is_spent(now, settings.inserts_per_tick / 2))
        || !set.has_room(now)
        || tables
            .backend(slot.current)
            .is_some_and(|current| matches!(current.forward(), Some(Forward::Gue)));
    if may_be_younger { slot.current } else { slot.previous }
}

/// Ticks within which a SYN that comes again finds the backend that it had: three seconds. Linux
/// sends the first one again after one second, the second after two more.
const SENT_AGAIN: u16 = 3;

/// Whether a SYN is one that came before, to a backend that still wants it: it comes soon, and nothing
/// else has come since. Any other begins another connection.
#[inline(always)]
pub(crate) fn is_sent_again<T: Tables>(tables: &T, found: Remembered, now: u16) -> bool {
    matches!(found.phase, Phase::Opening)
        && flow::idle(now, found.seen) <= SENT_AGAIN
        && takes_new_flows(tables, found.backend)
}

/// Counts a SYN that came again, and leaves it to the backend that it had.
#[inline(always)]
pub(crate) fn again<T: Tables>(tables: &T, backend: u16) -> Owner {
    if let Some(signals) = tables.signals(backend) {
        signals.repeat();
    }
    Owner::certain(backend)
}

/// Whether a backend takes new flows.
#[inline(always)]
pub(crate) fn takes_new_flows<T: Tables>(tables: &T, backend: u16) -> bool {
    tables.backend(backend).is_some_and(|backend| matches!(backend.stance(), Stance::Takes))
}

/// Whether a backend's flows are not over.
#[inline(always)]
fn takes_part<T: Tables>(tables: &T, backend: u16) -> bool {
    tables.backend(backend).is_some_and(|backend| !matches!(backend.stance(), Stance::Resets))
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

/// What is remembered of a flow whose first packet this is.
#[inline(always)]
pub(crate) fn remembered<T: Tables>(
    tables: &T,
    packet: &Packet,
    backend: u16,
    now: u16,
) -> Remembered {
    let generation = tables.backend(backend).map_or(0, Backend::generation);
    Remembered { backend, generation, seen: now, phase: Phase::first(packet.flags) }
}

/// Counts what became of a flow that was to be remembered.
#[inline(always)]
pub(crate) fn count<T: Tables>(tables: &T, put: Put) -> Put {
    if let Some(counters) = tables.flow_counters() {
        counters.count(put);
    }
    put
}
