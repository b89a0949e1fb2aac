//! The packet's way: parse, find the service, choose a slot, take its backend, forward, count.
//!
//! Nearly all packets go the common way, which is made to be short. It gives up on whatever is out
//! of the ordinary, before it has changed or counted anything. Packets of flows that are translated
//! have a short way of their own, [`nat::short`]; for all others [`crate::uncommon`] begins anew.

use crate::{
    find,
    flow::{FlowSet, Remembered},
    frame::{Ethernet, Frame},
    nat,
    packet::{self, Age, Packet},
    policy::{Policy, flag},
    send,
    settings::{Settings, feature},
    slot::{Slot, SlotLine},
    tables::Tables,
    tags::Tags,
    uncommon::uncommon,
    verdict::Verdict,
};

/// Balances one frame: decides, rewrites, counts services and backends.
///
/// The caller counts the verdict and does what [`Verdict::action`] says. A frame whose verdict is
/// to pass is untouched.
#[inline(always)]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    if let Some(verdict) = common(frame, tables) {
        return verdict;
    }
    match nat::short(frame, tables) {
        Some(verdict) => verdict,
        None => uncommon(frame, tables),
    }
}

/// The way of nearly all packets; `None` leaves a packet to [`uncommon`].
///
/// A copy of its own for each family, so that the compiler drops the other's branches.
#[inline(always)]
pub fn common<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Verdict> {
    match frame.header::<Ethernet>(0)?.ether_type() {
        Ethernet::IPV4 => {
            let packet = packet::ipv4(frame)?;
            route(frame, tables, &packet)
        }
        Ethernet::IPV6 => {
            let packet = packet::ipv6(frame)?;
            route(frame, tables, &packet)
        }
        _ => None,
    }
}

#[inline(always)]
fn route<F: Frame, T: Tables>(frame: &mut F, tables: &T, packet: &Packet) -> Option<Verdict> {
    let settings = tables.settings()?;
    let found = find::common(tables, settings, &packet.key);
    if !found.table.is_present() {
        return (settings.features & !feature::EVERY_PORT == 0).then_some(Verdict::NotService);
    }
    let is_plain = found.table.policy() == 0 && !found.table.is_empty();
    if !is_plain || !packet.is_well_formed(frame) {
        return None;
    }
    let flow = packet.flow(&settings.hash_key, found.hash);
    let index = found.table.slot(flow);
    let slot = tables.slot_line(SlotLine::of(index))?.slot(index);
    let id = if slot.is_disputed() {
        // A packet that gives up is not remembered: it would be twice.
        let is_free = |id| id == 0 || send::Way::common(tables, packet, id).is_some();
        if !is_free(slot.current) || !is_free(slot.previous) {
            return None;
        }
        owner(tables, settings, slot, packet.age, flow)
    } else {
        slot.current
    };
    let way = send::Way::common(tables, packet, id)?;
    let packet = send::Outgoing { packet, flow, tags: &Tags::NONE };
    Some(send::send(frame, tables, &packet, &way, found.service))
}

/// Where a flow stands in the tables.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Identifier of the service.
    pub service: u32,
    /// Index of its policy.
    pub policy: u32,
    /// Hash of the flow.
    pub flow: u64,
    /// Index of its slot among all slots.
    pub index: u32,
    /// The slot.
    pub slot: Slot,
}

/// Finds the service of a flow's packets and the flow's slot, to ask where it would go.
pub fn locate<T: Tables>(
    tables: &T,
    settings: &Settings,
    packet: &Packet,
) -> Result<Position, Verdict> {
    let found = find::any(tables, settings, &packet.key);
    if !found.table.is_present() {
        return Err(Verdict::NotService);
    }
    if found.table.is_empty() {
        return Err(Verdict::NoBackend);
    }
    let policy = tables.policy(found.table.policy()).unwrap_or(&Policy::NONE);
    let flow = flow(settings, policy, packet, found.hash);
    let index = found.table.slot(flow);
    let line = tables.slot_line(SlotLine::of(index)).ok_or(Verdict::NoBackend)?;
    let (service, policy) = (found.service, found.table.policy());
    Ok(Position { service, policy, flow, index, slot: line.slot(index) })
}

/// Hash of a packet's flow under a policy, from the hash of its destination.
#[inline(always)]
pub(crate) fn flow(settings: &Settings, policy: &Policy, packet: &Packet, hash: u64) -> u64 {
    let key = &settings.hash_key;
    if !policy.asks(flag::BY_ADDRESS) {
        return packet.flow(key, hash);
    }
    // Not of a range, since later fragments are not known to be.
    let destination = packet.key.at(0, packet.key.protocol());
    let address = packet.with_ports(0, 0).flow(key, destination.hash(key));
    if matches!(packet.age, Age::Unknown) {
        return address;
    }
    // The lower half chooses the slot. The upper one tells connections of a client apart where a
    // disputed slot remembers them.
    address & 0xffff_ffff | packet.flow(key, hash) & !0xffff_ffff
}

/// The backend of a flow in a disputed slot.
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
    age: Age,
    flow: u64,
) -> u16 {
    // A service whose last backends drain has nobody for new flows: nothing to remember.
    if matches!(age, Age::Unknown) || (matches!(age, Age::Begins) && slot.current == 0) {
        return slot.current;
    }
    let Some(set) = tables.flow_set(FlowSet::of(flow, settings.flow_mask)) else {
        return slot.previous;
    };
    let now = tables.now();
    let found = set.get(flow).filter(|found| is_alive(tables, *found));
    if matches!(age, Age::Continues)
        && let Some(found) = found
    {
        if found.seen != now {
            // It has a place, unless another CPU has just taken it.
            let _ = set.put(flow, Remembered { seen: now, ..found });
        }
        return found.backend;
    }
    let backend = if matches!(age, Age::Begins) { slot.current } else { slot.previous };
    match remember(tables, settings, set, flow, backend, now) {
        Some(()) => backend,
        None => found.map_or(slot.previous, |found| found.backend),
    }
}

/// Whether the remembered backend is still the one that was remembered.
#[inline(always)]
pub(crate) fn is_alive<T: Tables>(tables: &T, found: Remembered) -> bool {
    tables.backend(found.backend).is_some_and(|backend| {
        backend.generation() == found.generation && backend.forward().is_some()
    })
}

/// Remembers a flow, if the budget and the cache have room for it.
#[inline(always)]
fn remember<T: Tables>(
    tables: &T,
    settings: &Settings,
    set: &FlowSet,
    flow: u64,
    backend: u16,
    now: u16,
) -> Option<()> {
    if !tables.insert_budget()?.take(now, settings.inserts_per_tick) {
        return None;
    }
    let generation = tables.backend(backend)?.generation();
    set.put(flow, Remembered { backend, generation, seen: now }).then_some(())
}

#[cfg(test)]
mod tests;
