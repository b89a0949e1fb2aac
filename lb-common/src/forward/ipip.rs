//! IP in IP, RFC 2003 and RFC 2473, in all four combinations of families.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::{IP_IN_IP, IPV6_IN_IP, outer};
use crate::{
    backend::Backend,
    frame::{Ethernet, Frame},
    packet::Packet,
    send::Outgoing,
};

/// Puts an outer header before the packet. `None` if the frame has no room for it.
#[inline(always)]
pub(crate) fn encapsulate<F: Frame>(
    frame: &mut F,
    outgoing: &Outgoing<'_>,
    backend: &Backend,
) -> Option<()> {
    let protocol = inner_protocol(outgoing.packet);
    let payload = outgoing.packet.length as u16;
    let network = outgoing.tags.network();
    if backend.is_ipv6() {
        grow(frame, outgoing, Ipv6Hdr::LEN)?;
        outgoing.tags.write(frame, backend.link(), Ethernet::IPV6)?;
        return outer::ipv6(frame, network, outgoing, backend, payload, protocol);
    }
    grow(frame, outgoing, Ipv4Hdr::LEN)?;
    outgoing.tags.write(frame, backend.link(), Ethernet::IPV4)?;
    let protocol = (protocol, protocol - IP_IN_IP);
    outer::ipv4(frame, network, outgoing, backend, payload, protocol)
}

/// Room for headers, and for the tags with which the packet leaves in the place of those with which it
/// came.
#[inline(always)]
pub(super) fn grow<F: Frame>(frame: &mut F, outgoing: &Outgoing<'_>, headers: usize) -> Option<()> {
    // A header is longer than the two tags that a packet can lose.
    let bytes = headers + outgoing.tags.network() - outgoing.packet.layout.network();
    frame.grow(bytes).then_some(())
}

/// The number of the packet's own protocol, IPv4 or IPv6, in a tunnel.
#[inline(always)]
pub(super) const fn inner_protocol(packet: &Packet) -> u8 {
    if packet.ipv6 { IPV6_IN_IP } else { IP_IN_IP }
}
