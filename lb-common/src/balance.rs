//! The packet's way: parse, find the service, choose a slot, take its backend, forward, count.
//!
//! Nearly all packets go the common way, which is made to be short. It gives up on whatever is out
//! of the ordinary, before it has changed or counted anything. Packets of flows that are translated
//! or remembered have short ways of their own, [`nat::short`] and [`crate::remembered`]; for all
//! others [`crate::uncommon`] begins anew.

use crate::{
    dispute::{self, Owner},
    find::{self, Found},
    forward::Forward,
    frame::{Ethernet, Frame},
    hash, nat,
    packet::{self, Age, Packet},
    policy::{Policy, flag},
    send,
    settings::{Settings, feature},
    slot::{Slot, SlotLine},
    tables::Tables,
    tags::Tags,
    uncommon::{remembered, uncommon},
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
    let verdict = nat::short(frame, tables).or_else(|| remembered::short(frame, tables));
    verdict.unwrap_or_else(|| uncommon(frame, tables))
}

/// What may have a packet for which no exact service was found, other than one of every port.
const FURTHER: u32 = feature::RANGES | feature::PREFIXES | feature::NAT;

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
        return (settings.features & FURTHER == 0).then_some(Verdict::NotService);
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
        if !is_certain(tables, packet, slot.current) || !is_certain(tables, packet, slot.previous) {
            return None;
        }
        // That nobody's flows are over has just been seen. A SYN that comes again is nobody's here: it
        // is counted on the uncommon way.
        let (stray, again) = (|_: &_, _| slot.previous, |_| Owner::certain(0));
        dispute::owner(tables, settings, slot, packet, flow, stray, again).backend
    } else {
        slot.current
    };
    let way = send::Way::common(tables, packet, id)?;
    let packet = send::Outgoing { packet, flow, tags: &Tags::NONE };
    Some(send::send(frame, tables, &packet, &way, found.service))
}

/// Whether a packet of a disputed slot has no obstacle on its way to a backend, should that be its
/// owner's. By GUE it would have to carry the other backend's address.
#[inline(always)]
fn is_certain<T: Tables>(tables: &T, packet: &Packet, id: u16) -> bool {
    let way = send::Way::common(tables, packet, id);
    id == 0 || way.is_some_and(|way| !matches!(way.forward, Forward::Gue))
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
    let flow = flow(settings, policy, packet, &found);
    let index = found.table.slot(flow);
    let line = tables.slot_line(SlotLine::of(index)).ok_or(Verdict::NoBackend)?;
    let (service, policy) = (found.service, found.table.policy());
    Ok(Position { service, policy, flow, index, slot: line.slot(index) })
}

/// Hash of a packet's flow to the service that was found, under its policy.
#[inline(always)]
pub(crate) fn flow(settings: &Settings, policy: &Policy, packet: &Packet, found: &Found) -> u64 {
    if !policy.asks(flag::BY_ADDRESS) {
        return packet.flow(&settings.hash_key, found.hash);
    }
    let source = source(settings, policy, packet, found.service);
    if matches!(packet.age, Age::Unknown) {
        return source;
    }
    // The lower half chooses the slot. The upper one tells connections of a client apart where they
    // are remembered.
    source & 0xffff_ffff | packet.flow(&settings.hash_key, found.hash) & !0xffff_ffff
}

/// Hash of a packet's source, as far as a policy lets its address count, and of the service's address.
/// The upper half, which does not choose the slot, tells services of one address apart.
#[inline(always)]
pub(crate) fn source(settings: &Settings, policy: &Policy, packet: &Packet, service: u32) -> u64 {
    let key = &settings.hash_key;
    // Not of a range, since later fragments are not known to be.
    let destination = packet.key.at(0, packet.key.protocol());
    let source =
        packet.with_ports(0, 0).masked(&policy.source_mask).flow(key, destination.hash(key));
    source ^ hash::spread(u64::from(service)) & !0xffff_ffff
}

#[cfg(test)]
mod tests;
