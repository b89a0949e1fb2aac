//! Direct routing: the packet stays as it is, under the next hop's hardware address.

use super::rewrite_link;
use crate::{
    backend::Backend,
    frame::{Ethernet, Frame},
    send::Outgoing,
};

/// Addresses the frame to the next hop, under the tags with which it leaves. `None` if it has no room
/// for them.
#[inline(always)]
pub(crate) fn address<F: Frame>(
    frame: &mut F,
    outgoing: &Outgoing<'_>,
    backend: &Backend,
) -> Option<()> {
    let (came, leaves) = (outgoing.packet.layout.network(), outgoing.tags.network());
    if came == leaves && backend.vlan() == 0 {
        return rewrite_link(frame, backend.link());
    }
    let is_moved = match leaves {
        _ if leaves > came => frame.grow(leaves - came),
        _ if leaves < came => frame.shrink(came - leaves),
        _ => true,
    };
    let protocol = if outgoing.packet.ipv6 { Ethernet::IPV6 } else { Ethernet::IPV4 };
    if is_moved { outgoing.tags.write(frame, backend.link(), protocol) } else { None }
}
