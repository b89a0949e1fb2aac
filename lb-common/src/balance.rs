//! The packet's way: parse, find the service, choose a slot, take its backend, forward, count.

use crate::{
    counters::Counters,
    flow::{FlowSet, Remembered},
    forward::{self, Forward},
    frame::{Ethernet, Frame},
    hash,
    packet::{self, Age, Packet},
    service::{Service, ServiceKey, Table},
    settings::Settings,
    slot::{Slot, SlotLine},
    tables::Tables,
    verdict::Verdict,
};

/// Balances one frame: decides, rewrites, counts services and backends.
///
/// The caller counts the verdict and does what [`Verdict::action`] says. A frame whose verdict is
/// to pass is untouched.
#[inline(always)]
pub fn balance<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let Some(ethernet) = frame.header::<Ethernet>(0) else {
        return Verdict::NotIp;
    };
    let parsed = match ethernet.ether_type() {
        Ethernet::IPV4 => packet::ipv4(frame),
        Ethernet::IPV6 => return balance_ipv6(frame, tables),
        _ => return Verdict::NotIp,
    };
    route(frame, tables, parsed)
}

/// A copy of its own for each family, so that the compiler drops the other's branches.
#[inline(always)]
fn balance_ipv6<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Verdict {
    let parsed = packet::ipv6(frame);
    route(frame, tables, parsed)
}

#[inline(always)]
fn route<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    parsed: Result<Packet, Verdict>,
) -> Verdict {
    match parsed {
        Ok(packet) => send(frame, tables, &packet).unwrap_or_else(|verdict| verdict),
        Err(verdict) => verdict,
    }
}

/// Where a flow stands in the tables.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// Identifier of the service.
    pub service: u32,
    /// Hash of the flow.
    pub flow: u64,
    /// Index of its slot among all slots.
    pub index: u32,
    /// The slot.
    pub slot: Slot,
}

/// Finds the service of a packet and the slot of its flow.
///
/// `is_well_formed` is asked once a service is found: a packet that is for none passes, whatever
/// it looks like.
#[inline(always)]
pub fn locate<T: Tables>(
    tables: &T,
    settings: &Settings,
    packet: &Packet,
    is_well_formed: impl FnOnce() -> bool,
) -> Result<Position, Verdict> {
    let found = find(tables, settings, &packet.key).ok_or(Verdict::NotService)?;
    if !is_well_formed() {
        return Err(Verdict::Malformed);
    }
    if found.table.is_empty() {
        return Err(Verdict::NoBackend);
    }
    let flow = packet.flow(&settings.hash_key, found.hash);
    let index = found.table.slot(flow);
    let line = tables.slot_line(SlotLine::of(index)).ok_or(Verdict::NoBackend)?;
    Ok(Position { service: found.service.id, flow, index, slot: line.slot(index) })
}

#[inline(always)]
fn send<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
) -> Result<Verdict, Verdict> {
    let settings = tables.settings().ok_or(Verdict::NotReady)?;
    let Position { service, flow, slot, .. } =
        locate(tables, settings, packet, || packet.is_well_formed(frame))?;
    let id = if slot.is_disputed() {
        owner(tables, settings, slot, packet.age, flow)
    } else {
        slot.current
    };
    let backend = tables.backend(id).ok_or(Verdict::NoBackend)?;
    let forward = backend.forward().ok_or(Verdict::NoBackend)?;
    let interface = backend.interface();
    if interface == 0 {
        return Err(Verdict::NextHopUnknown);
    }
    if packet.length + forward.overhead(backend.is_ipv6()) > u32::from(backend.mtu()) {
        return Err(Verdict::TooBig);
    }
    let written = match forward {
        Forward::L2 => forward::rewrite_link(frame, backend),
        Forward::Ipip => forward::encapsulate(frame, packet, flow, backend),
    };
    if !written {
        return Err(Verdict::NoHeadroom);
    }
    let counted = Counters {
        packets: 1,
        bytes: u64::from(packet.length),
        new_flows: u64::from(matches!(packet.age, Age::Begins)),
    };
    tables.count_service(service, counted);
    tables.count_backend(id, counted);
    if interface == tables.ingress() {
        return Ok(Verdict::Transmitted);
    }
    tables.redirect(interface);
    Ok(Verdict::Redirected)
}

/// A service that has a table, and the hash of what the packet addresses.
struct Found<'a> {
    service: &'a Service,
    table: Table,
    hash: u64,
}

#[inline(always)]
fn find<'a, T: Tables>(tables: &'a T, settings: &Settings, key: &ServiceKey) -> Option<Found<'a>> {
    if let Some(found) = find_exact(tables, settings, key) {
        return Some(found);
    }
    if settings.every_port_services == 0 {
        return None;
    }
    let found = find_exact(tables, settings, &key.every_port())?;
    // The packet's own port stays in the hash: flows to two ports are two flows.
    Some(Found { hash: key.hash(&settings.hash_key), ..found })
}

#[inline(always)]
fn find_exact<'a, T: Tables>(
    tables: &'a T,
    settings: &Settings,
    key: &ServiceKey,
) -> Option<Found<'a>> {
    let hash = key.hash(&settings.hash_key);
    let [first, second] = hash::places(hash, settings.service_mask);
    let at = |place| {
        let service = tables.service(place)?;
        if !service.matches(key) {
            return None;
        }
        let table = service.table();
        table.is_present().then_some(Found { service, table, hash })
    };
    match at(first) {
        Some(found) => Some(found),
        None => at(second),
    }
}

/// The backend of a flow in a disputed slot.
///
/// A flow that begins now belongs to the current backend and is remembered. One that is not
/// remembered began before the change and belongs to the previous one. Where the cache refuses to
/// remember, a new flow goes where its next packets will go: to the backend that an earlier flow or
/// its own first SYN left in the cache, else to the previous one. UDP has no beginning and follows
/// the table.
#[inline(always)]
fn owner<T: Tables>(tables: &T, settings: &Settings, slot: Slot, age: Age, flow: u64) -> u16 {
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
fn is_alive<T: Tables>(tables: &T, found: Remembered) -> bool {
    tables.backend(found.backend).is_some_and(|backend| {
        backend.generation() == found.generation && backend.forward().is_some()
    })
}

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
