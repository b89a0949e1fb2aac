//! The short way of services that do nothing but remember their flows: packets that the common way
//! could read, and that nothing stands in the way of, of flows that are known or begin in turn. All
//! others go step by step.

use super::{Fresh, go_on, put, refused};
use crate::{
    balance, dispute, find,
    flow::FlowSet,
    frame::{Ethernet, Frame},
    packet::{self, Age, Packet},
    policy::{Policy, Scheduler, flag},
    send::{self, Way},
    service::Table,
    settings::{Settings, feature},
    slot::SlotLine,
    tables::Tables,
    tags::Tags,
    uncommon::schedule,
    verdict::Verdict,
};

/// Sends a packet to the backend of its flow; `None` leaves it, untouched, to [`crate::uncommon`].
#[inline(always)]
pub fn short<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Verdict> {
    let settings = tables.settings()?;
    if settings.features & feature::REMEMBERED == 0 {
        return None;
    }
    match frame.header::<Ethernet>(0)?.ether_type() {
        Ethernet::IPV4 => {
            let packet = packet::ipv4(frame)?;
            route(frame, tables, settings, &packet)
        }
        Ethernet::IPV6 => {
            let packet = packet::ipv6(frame)?;
            route(frame, tables, settings, &packet)
        }
        _ => None,
    }
}

#[inline(always)]
fn route<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
) -> Option<Verdict> {
    let found = find::common(tables, settings, &packet.key);
    let policy = tables.policy(found.table.policy())?;
    let is_present = found.table.is_present() && !found.table.is_empty();
    if !is_present || !is_alone(policy, packet) || !packet.is_well_formed(frame) {
        return None;
    }
    let flow = balance::flow(settings, policy, packet, &found);
    let set = tables.flow_set(FlowSet::of(flow, settings.flow_mask))?;
    let fresh = Fresh { tables, policy, now: tables.now() };
    let begins = matches!(packet.age, Age::Begins);
    let known = set.get(flow).filter(|known| {
        fresh.holds(packet, known) && (!begins || dispute::is_sent_again(tables, *known, fresh.now))
    });
    let way = if let Some(known) = known {
        let way = Way::common(tables, packet, known.backend)?;
        go_on(tables, set, flow, known, packet, fresh.now);
        way
    } else if begins && is_direct(policy) {
        let id = schedule::turn(tables, policy, found.table.policy(), flow);
        let way = Way::common(tables, packet, id)?;
        if put(tables, settings, set, flow, packet, (id, fresh.now)).is_done() {
            way
        } else {
            by_slot(tables, settings, packet, found.table, flow)?
        }
    } else {
        return None;
    };
    let outgoing = send::Outgoing { packet, flow, tags: &Tags::NONE };
    Some(send::send(frame, tables, &outgoing, &way, found.service))
}

/// The way of a flow that has no place in the cache.
#[inline(always)]
fn by_slot<'a, T: Tables>(
    tables: &'a T,
    settings: &Settings,
    packet: &Packet,
    table: Table,
    flow: u64,
) -> Option<Way<'a>> {
    let index = table.slot(flow);
    let slot = tables.slot_line(SlotLine::of(index))?.slot(index);
    Way::common(tables, packet, refused(tables, settings, slot, flow))
}

/// Whether a policy asks for nothing but that flows like a packet's are remembered.
#[inline(always)]
const fn is_alone(policy: &Policy, packet: &Packet) -> bool {
    let is_scheduled = !matches!(policy.scheduler(), Scheduler::Slot);
    (is_scheduled || matches!(packet.age, Age::Unknown))
        && policy.flags & !flag::BY_ADDRESS == flag::REMEMBERED
}

/// Whether flows begin in turn or by chance: that takes no comparison.
#[inline(always)]
const fn is_direct(policy: &Policy) -> bool {
    matches!(policy.scheduler(), Scheduler::Rotate | Scheduler::Random)
}
