//! From a chosen backend to a frame on its way: checks, rewrite, counters.

use crate::{
    backend::{Backend, HERE, Stance},
    counters::Counters,
    forward::{self, Forward},
    frame::Frame,
    hop_limit,
    packet::{Age, Packet},
    tables::Tables,
    tags::Tags,
    verdict::Verdict,
};

/// A packet that is about to leave.
pub(crate) struct Outgoing<'a> {
    /// Its lengths and headers.
    pub(crate) packet: &'a Packet,
    /// Hash of its flow, which spreads tunnels.
    pub(crate) flow: u64,
    /// The VLAN tags with which it leaves.
    pub(crate) tags: &'a Tags,
}

/// A backend that a packet may be sent to.
pub(crate) struct Way<'a> {
    id: u16,
    /// The backend.
    pub(crate) backend: &'a Backend,
    /// The backend that its far end may give the packet on to.
    other: Option<&'a Backend>,
    /// How to get there.
    pub(crate) forward: Forward,
    /// Index of the interface towards it.
    pub(crate) interface: u32,
}

/// Why a packet cannot be sent to its backend, apart from what is nobody's business.
pub(crate) enum Obstacle {
    /// The backend is on this machine.
    Here,
    /// The largest packet, without the tunnel, that fits.
    TooBig(u16),
    /// The hop limit ends here.
    HopLimit,
    /// The backend's flows are over.
    FlowOver,
    /// Any other.
    Other(Verdict),
}

impl<'a> Way<'a> {
    /// The way of a packet that has no obstacle; `None` for any other.
    #[inline(always)]
    pub(crate) fn common<T: Tables>(tables: &'a T, packet: &Packet, id: u16) -> Option<Self> {
        let backend = tables.backend(id)?;
        let forward = backend.forward()?;
        let interface = backend.interface();
        let length = packet.length + forward.overhead(backend.is_ipv6());
        let is_free = interface != 0
            && interface != HERE
            && length <= u32::from(backend.mtu())
            && packet.hop_limit > 1
            && !matches!(forward, Forward::Nat)
            && backend.vlan() == 0
            && !matches!(backend.stance(), Stance::Resets);
        is_free.then_some(Self { id, backend, other: None, forward, interface })
    }

    /// The way of a packet that came under `tags`, or what stands in it.
    #[inline(always)]
    pub(crate) fn find<T: Tables>(
        tables: &'a T,
        packet: &Packet,
        tags: &Tags,
        id: u16,
    ) -> Result<Self, Obstacle> {
        let missing = Obstacle::Other(Verdict::NoBackend);
        let Some(backend) = tables.backend(id) else { return Err(missing) };
        let Some(forward) = backend.forward() else { return Err(missing) };
        if matches!(backend.stance(), Stance::Resets) {
            return Err(Obstacle::FlowOver);
        }
        match backend.interface() {
            0 => Err(Obstacle::Other(Verdict::NextHopUnknown)),
            HERE => Err(Obstacle::Here),
            // Answers come under the tags of the backend, and leave so.
            _ if matches!(forward, Forward::Nat) && !tags.suit(backend.vlan()) => {
                Err(Obstacle::Other(Verdict::WrongVlan))
            }
            _ if packet.hop_limit <= 1 => Err(Obstacle::HopLimit),
            interface => {
                let overhead = forward.overhead(backend.is_ipv6());
                let mtu = u32::from(backend.mtu());
                if packet.length + overhead > mtu {
                    return Err(Obstacle::TooBig(mtu.saturating_sub(overhead) as u16));
                }
                Ok(Self { id, backend, other: None, forward, interface })
            }
        }
    }

    /// The same way of a packet that may belong to another backend: by GUE it carries that one's
    /// address, see [`forward::mark`], and an obstacle is that it does not fit with it. Nothing
    /// changes where the packet has no way there: for backend 0, by another way to forward, in
    /// another family, or to this machine.
    #[inline(always)]
    pub(crate) fn or<T: Tables>(
        self,
        tables: &'a T,
        packet: &Packet,
        other: u16,
    ) -> Result<Self, Obstacle> {
        if other == 0 || !matches!(self.forward, Forward::Gue) {
            return Ok(self);
        }
        let ipv6 = self.backend.is_ipv6();
        let is_reached = |other: &&Backend| {
            matches!(other.forward(), Some(Forward::Gue))
                && other.is_ipv6() == ipv6
                && other.interface() != HERE
                && !matches!(other.stance(), Stance::Resets)
        };
        let Some(other) = tables.backend(other).filter(is_reached) else { return Ok(self) };
        let overhead = self.forward.overhead(ipv6) + forward::mark::length(ipv6) as u32;
        let mtu = u32::from(self.backend.mtu());
        if packet.length + overhead > mtu {
            return Err(Obstacle::TooBig(mtu.saturating_sub(overhead) as u16));
        }
        Ok(Self { other: Some(other), ..self })
    }
}

/// Rewrites a frame for its backend, counts it, and sends it.
#[inline(always)]
pub(crate) fn send<F: Frame, T: Tables>(
    frame: &mut F,
    tables: &T,
    outgoing: &Outgoing<'_>,
    way: &Way<'_>,
    service: u32,
) -> Verdict {
    let packet = outgoing.packet;
    let is_written = hop_limit::decrement(frame, packet).is_some()
        && match way.forward {
            Forward::L2 => forward::l2::address(frame, outgoing, way.backend),
            Forward::Ipip => forward::ipip::encapsulate(frame, outgoing, way.backend),
            Forward::Gue => forward::gue::encapsulate(frame, outgoing, way.backend, way.other),
            Forward::Nat => None,
        }
        .is_some();
    if !is_written {
        return Verdict::NoHeadroom;
    }
    count(tables, packet, service, way.id);
    leave(tables, way.interface)
}

/// Counts a packet for its service and backend.
#[inline(always)]
pub(crate) fn count<T: Tables>(tables: &T, packet: &Packet, service: u32, backend: u16) {
    let counted = Counters {
        packets: 1,
        bytes: u64::from(packet.length),
        new_flows: u64::from(matches!(packet.age, Age::Begins)),
    };
    tables.count_service(service, counted);
    tables.count_backend(backend, counted);
}

/// Sends the frame out of an interface.
#[inline(always)]
pub(crate) fn leave<T: Tables>(tables: &T, interface: u32) -> Verdict {
    if interface == tables.ingress() {
        return Verdict::Transmitted;
    }
    tables.redirect(interface);
    Verdict::Redirected
}

#[cfg(test)]
mod tests;
