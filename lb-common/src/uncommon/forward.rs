//! The third step: to the chosen backend.

use super::{Step, Work};
use crate::{
    forward::Forward,
    frame::Frame,
    reply::Reply,
    send::{self, Obstacle, Outgoing, Way},
    tables::Tables,
    verdict::Verdict,
};

/// Sends the packet to its backend.
#[inline(always)]
pub(super) fn forward<F: Frame, T: Tables>(work: &mut Work, frame: &mut F, tables: &T) -> Step {
    let packet = &work.seen.packet;
    let found = Way::find(tables, packet, &work.seen.tags, work.backend);
    let way = match found.and_then(|way| way.or(tables, packet, work.other)) {
        Ok(way) => way,
        Err(obstacle) => return meet(work, tables, &obstacle),
    };
    if matches!(way.forward, Forward::Nat) {
        // A backend of a service that translates; this one does not.
        return Step::Done(Verdict::NoBackend);
    }
    let tags = work.seen.tags.in_vlan(way.backend.vlan());
    let outgoing = Outgoing { packet: &work.seen.packet, flow: work.flow, tags: &tags };
    Step::Done(send::send(frame, tables, &outgoing, &way, work.found.service))
}

/// What becomes of a packet that cannot be sent.
#[inline(always)]
pub(crate) fn meet<T: Tables>(work: &mut Work, tables: &T, obstacle: &Obstacle) -> Step {
    match obstacle {
        Obstacle::Here => {
            send::count(tables, &work.seen.packet, work.found.service, work.backend);
            Step::Done(Verdict::Delivered)
        }
        Obstacle::TooBig(mtu) => work.tell(Reply::too_big(*mtu)),
        Obstacle::HopLimit => work.tell(Reply::HOP_LIMIT),
        Obstacle::FlowOver => work.tell(Reply::FLOW_OVER),
        Obstacle::Other(verdict) => Step::Done(*verdict),
    }
}
