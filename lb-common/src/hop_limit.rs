//! The hop limit of packets that are sent on, so that loops between balancers end.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use crate::{frame::Frame, packet::Packet};

/// Takes one off the hop limit of a packet, which is 2 at least, and brings its checksum in line
/// (RFC 1624 section 3). `None` if the frame does not hold the header.
#[inline(always)]
pub(crate) fn decrement<F: Frame>(frame: &mut F, packet: &Packet) -> Option<()> {
    if packet.ipv6 {
        frame.header_mut::<Ipv6Hdr>(packet.layout.network())?.hop_limit = packet.hop_limit - 1;
        return Some(());
    }
    let ip = frame.header_mut::<Ipv4Hdr>(packet.layout.network())?;
    // The word of which this is the higher byte becomes smaller by 0x100, its complement larger.
    let sum = u32::from(u16::from_be_bytes(ip.check)) + 0x100;
    // The carry goes around; 0xffff becomes zero, which is how that sum is written.
    let sum = if sum >= 0xffff { sum + 1 } else { sum };
    ip.check = (sum as u16).to_be_bytes();
    ip.ttl = packet.hop_limit - 1;
    Some(())
}
