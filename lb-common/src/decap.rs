//! The tunnel's far end: opens packets of permitted load balancers, in IP or in GUE, on a backend, or
//! gives them on to the other backend that may have their connection.

mod ecn;
mod gue;
mod inner;
mod keys;
mod outer;
mod second_chance;

pub use keys::{LocalAddress, SourcePrefix, known};
pub use second_chance::{Connection, Segment};

use crate::{
    address::Address,
    frame::{Ethernet, Frame},
    tags::Tags,
    verdict::DecapVerdict,
};
use gue::Contents;
use outer::{Carrier, Outer};

/// Most prefixes of load balancers that a far end takes.
pub const MAX_SOURCES: usize = 1024;
/// Most addresses of its own that a far end keeps.
pub const MAX_ADDRESSES: usize = 4096;

/// What the far end knows: who may send tunnels, which addresses this machine has, and which of
/// them clients may reach.
pub trait Gate {
    /// Whether a load balancer with this address may send tunnels here.
    fn permits(&self, source: &Address) -> bool;
    /// Whether this machine has the address.
    fn has(&self, address: &Address) -> bool;
    /// Whether a tunnelled packet may be aimed at the address.
    fn admits(&self, destination: &Address) -> bool;
    /// The UDP port of GUE; 0 opens none.
    fn gue_port(&self) -> u16;
    /// Whether packets of connections that this machine does not have are given on to the other
    /// backend that their tunnel names.
    fn gives_on(&self) -> bool;
    /// Whether this machine has the connection of a segment in the frame, in whatever state but
    /// listening, or can make it from the SYN cookie that the segment brings back.
    fn knows<F: Frame>(&self, frame: &F, segment: &Segment) -> bool;
}

/// Opens one frame. A frame whose verdict is to pass is untouched, except for two:
/// [`DecapVerdict::Opened`] has lost its outer headers, and has its congestion mark;
/// [`DecapVerdict::SecondChance`] is addressed to another backend, for the network stack to route.
///
/// Up to two VLAN tags stay. Fragments, IPv4 options and IPv6 extension headers of the outer packet
/// are not opened; the balancer sends none.
#[inline(always)]
pub fn open<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> DecapVerdict {
    judge(frame, gate).unwrap_or_else(|verdict| verdict)
}

#[inline(always)]
fn judge<F: Frame, G: Gate>(frame: &mut F, gate: &G) -> Result<DecapVerdict, DecapVerdict> {
    let (tags, ether_type) = Tags::read(frame).ok_or(DecapVerdict::NotTunnel)?;
    let network = tags.network();
    let outer = match ether_type {
        Ethernet::IPV4 => Outer::ipv4(frame, network),
        Ethernet::IPV6 => Outer::ipv6(frame, network),
        _ => None,
    };
    let outer = outer.ok_or(DecapVerdict::NotTunnel)?;
    let carrier = outer.carrier(frame, gate).ok_or(DecapVerdict::NotTunnel)?;
    if !gate.permits(&outer.source) {
        return Err(DecapVerdict::ForeignSource);
    }
    if !gate.has(&outer.destination) {
        return Err(DecapVerdict::ForeignDestination);
    }
    let contents = match carrier {
        Carrier::Ip(inner) => Contents { inner, start: outer.payload, end: outer.end, words: 0 },
        Carrier::Gue => gue::contents(frame, &outer).ok_or(DecapVerdict::Malformed)?,
    };
    let Contents { inner, start, end, words } = contents;
    let packet = inner.read(frame, start).ok_or(DecapVerdict::Malformed)?;
    if start + packet.length > end || !frame.holds(outer.end) {
        return Err(DecapVerdict::Malformed);
    }
    if !gate.admits(&packet.destination) {
        return Err(DecapVerdict::NotLocal);
    }
    if words != 0
        && gate.gives_on()
        && let Some(other) = second_chance::wanted(frame, gate, &outer, words, inner, start)
    {
        second_chance::give_on(frame, &outer, &other).ok_or(DecapVerdict::Malformed)?;
        return Ok(DecapVerdict::SecondChance);
    }
    let ecn = ecn::merge(packet.ecn, outer.ecn).ok_or(DecapVerdict::CongestionNotEcn)?;
    let link = frame.header::<Ethernet>(0).ok_or(DecapVerdict::Malformed)?.link;
    if !frame.shrink(start - network) {
        return Err(DecapVerdict::NotMoved);
    }
    tags.write(frame, link, inner.ether_type()).ok_or(DecapVerdict::NotMoved)?;
    if ecn != packet.ecn {
        inner.set_ecn(frame, network, ecn).ok_or(DecapVerdict::NotMoved)?;
    }
    Ok(DecapVerdict::Opened)
}

#[cfg(test)]
mod tests;
