//! The second step: which backend gets a packet.

use super::{Beside, Step, Work, limits};
use crate::{
    balance::{is_alive, owner},
    flow::{FlowSet, Remembered},
    frame::Frame,
    packet::{Age, Kind},
    policy::flag,
    quic,
    reply::Reply,
    slot::{Slot, SlotLine},
    tables::Tables,
    verdict::Verdict,
};

/// Chooses the backend: by the server that a packet names, by what is remembered of its flow, or by
/// its slot.
#[inline(always)]
pub(super) fn choose<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Step {
    match backend(work, frame, beside) {
        Ok(0) => nobody(work, beside),
        Ok(id) => {
            work.backend = id;
            Step::Forward
        }
        Err(verdict) => Step::Done(verdict),
    }
}

/// What becomes of a packet for which there is no backend.
#[inline(always)]
pub(crate) fn nobody<T>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    if beside.policy.asks(flag::REFUSE) {
        work.tell(Reply::REFUSAL)
    } else {
        Step::Done(Verdict::NoBackend)
    }
}

/// The backend; 0 is none.
#[inline(always)]
fn backend<F: Frame, T: Tables>(
    work: &Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Result<u16, Verdict> {
    let Beside { tables, settings, policy } = beside;
    let age = work.seen.packet.age;
    if matches!(age, Age::Begins) {
        limits::admit(work, beside)?;
    }
    if policy.asks(flag::QUIC)
        && let Some(id) = named_server(work, frame, beside)
    {
        return Ok(id);
    }
    let slot = slot(work, beside.tables)?;
    if policy.asks(flag::UDP_FLOWS) && matches!(age, Age::Unknown) {
        return remembered_backend(work, beside, slot);
    }
    if !slot.is_disputed() {
        return Ok(slot.current);
    }
    if matches!(work.seen.kind, Kind::Error { .. }) {
        return Ok(former_owner(work, beside, slot));
    }
    Ok(owner(*tables, settings, slot, age, work.flow))
}

/// The slot of the packet's flow; one of nobody where the service has no backend.
#[inline(always)]
pub(crate) fn slot<T: Tables>(work: &Work, tables: &T) -> Result<Slot, Verdict> {
    if work.found.table.is_empty() {
        return Ok(Slot::settled(0));
    }
    let index = work.found.table.slot(work.flow);
    let line = tables.slot_line(SlotLine::of(index)).ok_or(Verdict::NoBackend)?;
    Ok(line.slot(index))
}

/// The backend whose server identifier is in the packet's QUIC connection identifier. Whoever
/// makes one up gets no further than that server.
#[inline(always)]
fn named_server<F: Frame, T: Tables>(
    work: &Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Option<u16> {
    if !matches!(work.seen.kind, Kind::Whole) {
        return None;
    }
    let payload = work.seen.packet.layout.transport() + 8;
    let id = quic::server_id(frame, payload, beside.policy.server_id)?;
    let id = beside.tables.server(work.found.table.policy(), id)?;
    let backend = beside.tables.backend(id)?;
    let is_ours = backend.service == work.found.service && backend.forward().is_some();
    is_ours.then_some(id)
}

/// The backend that a UDP flow has had, or gets now.
#[inline(always)]
fn remembered_backend<T: Tables>(
    work: &Work,
    beside: &Beside<'_, T>,
    slot: Slot,
) -> Result<u16, Verdict> {
    let Beside { tables, settings, policy } = beside;
    let Some(set) = tables.flow_set(FlowSet::of(work.flow, settings.flow_mask)) else {
        return Ok(slot.current);
    };
    let now = tables.now();
    let is_fresh = |found: &Remembered| {
        u32::from(now.wrapping_sub(found.seen)) <= policy.udp_timeout && is_alive(*tables, *found)
    };
    let found = set.get(work.flow).filter(is_fresh);
    // Errors begin nothing, and keep nothing alive.
    if matches!(work.seen.kind, Kind::Error { .. }) {
        return Ok(found.map_or(slot.current, |found| found.backend));
    }
    if let Some(found) = found {
        if found.seen != now {
            // It has a place, unless another CPU has just taken it.
            let _ = set.put_in_half(work.flow, Remembered { seen: now, ..found });
        }
        return Ok(found.backend);
    }
    if slot.current != 0 {
        limits::admit(work, beside)?;
        // Without a place the flow goes by its hash.
        let _ = remember_udp(work, beside, set, slot.current, now);
    }
    Ok(slot.current)
}

/// Remembers a UDP flow, if its half of the budget and of the set have room for it. Anybody can make
/// up datagrams: the other halves are for flows of slots that change hands.
#[inline(always)]
fn remember_udp<T: Tables>(
    work: &Work,
    beside: &Beside<'_, T>,
    set: &FlowSet,
    backend: u16,
    now: u16,
) -> Option<()> {
    let Beside { tables, settings, .. } = beside;
    if !tables.insert_budget()?.take(now, settings.inserts_per_tick / 2) {
        return None;
    }
    let generation = tables.backend(backend)?.generation();
    let remembered = Remembered { backend, generation, seen: now };
    set.put_in_half(work.flow, remembered).then_some(())
}

/// The owner of a flow that an ICMP error quotes, which is not remembered for that.
#[inline(always)]
fn former_owner<T: Tables>(work: &Work, beside: &Beside<'_, T>, slot: Slot) -> u16 {
    if matches!(work.seen.packet.age, Age::Unknown) {
        return slot.current;
    }
    let set = FlowSet::of(work.flow, beside.settings.flow_mask);
    let found = beside.tables.flow_set(set).and_then(|set| set.get(work.flow));
    let found = found.filter(|found| is_alive(beside.tables, *found));
    found.map_or(slot.previous, |found| found.backend)
}
