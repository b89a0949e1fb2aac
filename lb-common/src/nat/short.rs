//! The short way of translated flows: packets that the common way could read, of flows that are
//! known, and that nothing stands in the way of. All others, and all beginnings, go step by step.

use super::{Tuple, flag_bits, follow, is_alive, rewrite, state, witness};
use crate::{
    find,
    frame::{Ethernet, Frame},
    packet::{self, Age, Packet},
    policy::flag,
    send::{self, Way},
    service::TCP,
    settings::{Settings, feature},
    tables::Tables,
    tags::Tags,
    verdict::Verdict,
};

/// Translates a packet of a known flow; `None` leaves it, untouched, to [`crate::uncommon`].
#[inline(always)]
pub fn short<F: Frame, T: Tables>(frame: &mut F, tables: &T) -> Option<Verdict> {
    let settings = tables.settings()?;
    if settings.features & feature::NAT == 0 {
        return None;
    }
    match frame.header::<Ethernet>(0)?.ether_type() {
        Ethernet::IPV4 => {
            let packet = packet::ipv4(frame)?;
            translate(frame, tables, settings, &packet)
        }
        Ethernet::IPV6 => {
            let packet = packet::ipv6(frame)?;
            translate(frame, tables, settings, &packet)
        }
        _ => None,
    }
}

#[inline(always)]
fn translate<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    settings: &Settings,
    packet: &Packet,
) -> Option<Verdict> {
    let found = find::common(tables, settings, &packet.key);
    if found.table.is_present() {
        let policy = tables.policy(found.table.policy())?;
        // Who is not allowed does not get far enough to begin a flow, but rules may change.
        let is_ours = policy.asks(flag::NAT) && !policy.asks(flag::RULES);
        let may_go = is_ours && !matches!(packet.age, Age::Begins) && packet.is_well_formed(frame);
        return if may_go { request(frame, tables, packet, found.service) } else { None };
    }
    // Where services have more than exact ports, only the long way knows that it is for none.
    let features = settings.features & !feature::REMEMBERED;
    let may_go = features == feature::NAT && packet.hop_limit > 1;
    if may_go { answer(frame, tables, packet) } else { None }
}

#[inline(always)]
fn request<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    packet: &Packet,
    service: u32,
) -> Option<Verdict> {
    let tuple = Tuple::of_request(packet);
    let entry = tables.translation(&tuple).filter(|entry| is_alive(tables, entry))?;
    let Ok(way) = Way::find(tables, packet, &Tags::NONE, entry.backend) else { return None };
    if !follow(frame, tables, &tuple, entry) {
        return None;
    }
    witness(tables, entry, bits(frame, packet));
    rewrite::whole(frame, packet, &entry.tuple, entry.delta(), way.backend.link())?;
    send::count(tables, packet, service, entry.backend);
    Some(send::leave(tables, way.interface))
}

#[inline(always)]
fn answer<F: Frame, T: Tables>(frame: &mut F, tables: &T, packet: &Packet) -> Option<Verdict> {
    let entry = tables.translation(&Tuple::of_answer(packet))?;
    if entry.state() & state::TIMED != 0 || !packet.is_well_formed(frame) {
        return None;
    }
    entry.witness(tables.now(), bits(frame, packet));
    rewrite::whole(frame, packet, &entry.tuple, entry.delta(), entry.client_link())?;
    Some(send::leave(tables, entry.client_interface()))
}

#[inline(always)]
fn bits<F: Frame>(frame: &F, packet: &Packet) -> u32 {
    flag_bits(frame, packet, packet.key.protocol() == TCP)
}
