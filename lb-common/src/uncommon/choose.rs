//! The second step: which backend gets a packet.

use super::{Beside, Step, Work, limits, remembered};
use crate::{
    dispute::{self, Owner},
    flow::FlowSet,
    frame::Frame,
    packet::{Age, Kind},
    policy::{Scheduler, flag},
    quic,
    reply::Reply,
    slot::{Slot, SlotLine},
    tables::Tables,
    verdict::Verdict,
};

/// Whose a packet is.
pub(super) enum Choice {
    /// It has an owner, or nobody.
    Owned(Owner),
    /// It begins a flow whose owner a scheduler chooses.
    Begins,
}

/// Chooses the backend: by the server that a packet names, by what is remembered of its flow, or by
/// its slot.
#[inline(always)]
pub(super) fn choose<F: Frame, T: Tables>(
    work: &mut Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Step {
    match choice(work, frame, beside) {
        Ok(Choice::Owned(owner)) => assign(work, beside, owner),
        Ok(Choice::Begins) => Step::Schedule,
        Err(verdict) => Step::Done(verdict),
    }
}

/// The packet is its owner's.
#[inline(always)]
pub(super) fn assign<T>(work: &mut Work, beside: &Beside<'_, T>, owner: Owner) -> Step {
    (work.backend, work.other) = (owner.backend, owner.other);
    if owner.backend == 0 { nobody(work, beside) } else { Step::Forward }
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

#[inline(always)]
fn choice<F: Frame, T: Tables>(
    work: &Work,
    frame: &F,
    beside: &Beside<'_, T>,
) -> Result<Choice, Verdict> {
    let Beside { tables, settings, policy } = beside;
    let packet = &work.seen.packet;
    if matches!(packet.age, Age::Begins) {
        limits::admit(work, beside)?;
    }
    if policy.asks(flag::QUIC)
        && let Some(id) = named_server(work, frame, beside)
    {
        return Ok(Choice::Owned(Owner::certain(id)));
    }
    let slot = slot(work, beside.tables)?;
    let is_scheduled = !matches!(policy.scheduler(), Scheduler::Slot);
    if policy.asks(flag::REMEMBERED) && (is_scheduled || matches!(packet.age, Age::Unknown)) {
        return remembered::choose(work, beside, slot);
    }
    Ok(Choice::Owned(if !slot.is_disputed() {
        Owner::certain(slot.current)
    } else if matches!(work.seen.kind, Kind::Error { .. }) {
        dispute::former(*tables, settings, slot, packet, work.flow)
    } else {
        let stray = |set: &FlowSet, now| dispute::stray(*tables, settings, slot, set, now);
        let again = |backend| dispute::again(*tables, backend);
        dispute::owner(*tables, settings, slot, packet, work.flow, stray, again)
    }))
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
    let is_ours = backend.service() == work.found.service && backend.forward().is_some();
    is_ours.then_some(id)
}
