//! Services that remember their flows: those of UDP that ask for it, and those with a scheduler.

mod short;

use super::{Beside, Step, Work, choose, choose::Choice, limits};
use crate::{
    dispute::{self, Owner},
    flow::{self, FlowSet, Put, Remembered},
    packet::{Age, Kind, Packet},
    policy::Policy,
    settings::Settings,
    slot::Slot,
    tables::Tables,
    verdict::Verdict,
};

pub use short::short;

/// The owner of a remembered flow, or that one begins.
#[inline(always)]
pub(super) fn choose<T: Tables>(
    work: &Work,
    beside: &Beside<'_, T>,
    slot: Slot,
) -> Result<Choice, Verdict> {
    let Beside { tables, settings, policy } = beside;
    let packet = &work.seen.packet;
    let Some(set) = tables.flow_set(FlowSet::of(work.flow, settings.flow_mask)) else {
        return Ok(Choice::Owned(Owner::of(slot, slot.current)));
    };
    let fresh = Fresh { tables: *tables, policy, now: tables.now() };
    let found = set.get(work.flow).filter(|found| fresh.holds(packet, found));
    let is_error = matches!(work.seen.kind, Kind::Error { .. });
    let begins = matches!(packet.age, Age::Begins);
    if let Some(found) = found
        && !is_error
        && (!begins || dispute::is_sent_again(*tables, found, fresh.now))
    {
        go_on(*tables, set, work.flow, found, packet, fresh.now);
        return Ok(Choice::Owned(Owner::certain(found.backend)));
    }
    let stray = dispute::stray(*tables, settings, slot, set, fresh.now);
    // Errors begin nothing, and keep nothing alive.
    if is_error {
        return Ok(Choice::Owned(Owner::certain(found.map_or(stray, |found| found.backend))));
    }
    match packet.age {
        // It went by the table when it began, or another balancer remembers it.
        Age::Continues => return Ok(Choice::Owned(Owner::of(slot, stray))),
        Age::Unknown if slot.current != 0 => limits::admit(work, beside)?,
        _ => {}
    }
    Ok(if slot.current == 0 { Choice::Owned(Owner::certain(0)) } else { Choice::Begins })
}

/// Which flows count as remembered at a time.
struct Fresh<'a, T> {
    tables: &'a T,
    policy: &'a Policy,
    now: u16,
}

impl<T: Tables> Fresh<'_, T> {
    /// Whether what is remembered of a packet's flow is not over: datagrams do not say where one
    /// ends.
    #[inline(always)]
    fn holds(&self, packet: &Packet, found: &Remembered) -> bool {
        let idle = flow::idle(self.now, found.seen);
        (!matches!(packet.age, Age::Unknown) || idle <= self.policy.flow_timeout)
            && dispute::is_alive(self.tables, *found)
    }
}

/// Takes in one more packet of a remembered flow.
#[inline(always)]
fn go_on<T: Tables>(
    tables: &T,
    set: &FlowSet,
    flow: u64,
    found: Remembered,
    packet: &Packet,
    now: u16,
) {
    // A SYN that is sent again is as old as the first.
    if matches!(packet.age, Age::Begins) {
        let _ = dispute::again(tables, found.backend);
        return;
    }
    let Some(after) = dispute::renewed(tables, found, packet, now) else { return };
    if after.phase.is_ending()
        && !found.phase.is_ending()
        && let Some(load) = tables.load(found.backend)
    {
        load.end();
    }
    // It has a place, unless another CPU has just taken it.
    let _ = set.put_leaving_room(flow, after);
}

/// Remembers the flow that begins with a packet under the backend that was chosen. One for which
/// there is no room goes by the table, as its next packets will.
#[inline(always)]
pub(super) fn enlist<T: Tables>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    let backend = work.backend;
    let put = remember(work.flow, &work.seen.packet, backend, beside);
    if put.is_done() {
        if beside.policy.scheduler().counts_flows()
            && let Some(load) = beside.tables.load(backend)
        {
            load.begin();
        }
        return choose::assign(work, beside, Owner::certain(backend));
    }
    let slot = choose::slot(work, beside.tables).unwrap_or_default();
    let stray = refused(beside.tables, beside.settings, slot, work.flow);
    choose::assign(work, beside, Owner::certain(stray))
}

/// Whose a flow is that begins and has no place in the cache.
#[inline(always)]
fn refused<T: Tables>(tables: &T, settings: &Settings, slot: Slot, flow: u64) -> u16 {
    let set = tables.flow_set(FlowSet::of(flow, settings.flow_mask));
    set.map_or(slot.current, |set| dispute::stray(tables, settings, slot, set, tables.now()))
}

/// Remembers a flow; see [`put`].
#[inline(always)]
pub(super) fn remember<T: Tables>(
    flow: u64,
    packet: &Packet,
    backend: u16,
    beside: &Beside<'_, T>,
) -> Put {
    let Beside { tables, settings, .. } = beside;
    let Some(set) = tables.flow_set(FlowSet::of(flow, settings.flow_mask)) else {
        return Put::Refused;
    };
    put(*tables, settings, set, flow, packet, (backend, tables.now()))
}

/// Remembers a flow, but for one place of its set, if half of the budget has something left. Anybody
/// can make up what begins a flow: the rest is for flows of slots that change hands.
#[inline(always)]
fn put<T: Tables>(
    tables: &T,
    settings: &Settings,
    set: &FlowSet,
    flow: u64,
    packet: &Packet,
    (backend, now): (u16, u16),
) -> Put {
    let remembered = dispute::remembered(tables, packet, backend, now);
    let allowance = settings.inserts_per_tick / 2;
    let has_budget = tables.insert_budget().is_some_and(|budget| budget.take(now, allowance));
    let put = if has_budget { set.put_leaving_room(flow, remembered) } else { Put::Refused };
    dispute::count(tables, put)
}
