//! Writing another tuple into a packet.

use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

use super::tuple::{Tuple, octets, octets_ipv4};
use crate::{
    checksum, forward,
    frame::Frame,
    hop_limit,
    packet::{Kind, Packet, Seen},
    service::{TCP, UDP},
};

/// Offsets of the checksum in transport headers, in bytes.
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_CHECKSUM: usize = 6;
pub(super) const ICMP_CHECKSUM: usize = 2;

/// Gives a packet another tuple, whose addresses have `delta` more than its own, one less of its
/// hop limit, and new hardware addresses. `None` if the frame does not hold the headers.
#[inline(always)]
pub(super) fn rewrite<F: Frame>(
    frame: &mut F,
    seen: &Seen,
    tuple: &Tuple,
    delta: u32,
    link: [u8; 12],
) -> Option<()> {
    if matches!(seen.kind, Kind::LaterFragment(_)) {
        return network(frame, &seen.packet, tuple, delta, link);
    }
    whole(frame, &seen.packet, tuple, delta, link)
}

/// The same of a packet that has its transport header.
#[inline(always)]
pub(super) fn whole<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    tuple: &Tuple,
    delta: u32,
    link: [u8; 12],
) -> Option<()> {
    transport(frame, packet, tuple, delta)?;
    network(frame, packet, tuple, delta, link)
}

#[inline(always)]
fn network<F: Frame>(
    frame: &mut F,
    packet: &Packet,
    tuple: &Tuple,
    delta: u32,
    link: [u8; 12],
) -> Option<()> {
    addresses(frame, packet.layout.network(), tuple, delta)?;
    hop_limit::decrement(frame, packet)?;
    forward::rewrite_link(frame, link)
}

/// Gives the IP header at an offset the tuple's addresses, which have `delta` more than its own.
#[inline(always)]
pub(super) fn addresses<F: Frame>(
    frame: &mut F,
    network: usize,
    tuple: &Tuple,
    delta: u32,
) -> Option<()> {
    if tuple.is_ipv6() {
        let ip = frame.header_mut::<Ipv6Hdr>(network)?;
        ip.src_addr = octets(tuple.source);
        ip.dst_addr = octets(tuple.destination);
        return Some(());
    }
    let ip = frame.header_mut::<Ipv4Hdr>(network)?;
    ip.check = updated(ip.check, delta);
    ip.src_addr = octets_ipv4(tuple.source);
    ip.dst_addr = octets_ipv4(tuple.destination);
    Some(())
}

#[inline(always)]
fn transport<F: Frame>(frame: &mut F, packet: &Packet, tuple: &Tuple, delta: u32) -> Option<()> {
    let offset = packet.layout.transport();
    let more = ports_delta(packet, tuple);
    let [a, b, c, d] = port_bytes(tuple);
    match packet.key.protocol() {
        TCP => {
            let header = frame.header_mut::<[u8; TCP_CHECKSUM + 2]>(offset)?;
            let check = updated([header[16], header[17]], delta + more);
            [header[0], header[1], header[2], header[3]] = [a, b, c, d];
            [header[16], header[17]] = check;
        }
        UDP => {
            let header = frame.header_mut::<[u8; UDP_CHECKSUM + 2]>(offset)?;
            let check = updated_udp([header[6], header[7]], delta + more);
            [header[0], header[1], header[2], header[3]] = [a, b, c, d];
            [header[6], header[7]] = check;
        }
        // Only ICMPv6 covers the addresses, RFC 4443 section 2.3.
        _ => echo(frame, offset, tuple, if packet.ipv6 { delta + more } else { more })?,
    }
    Some(())
}

/// Gives an echo packet the tuple's identifier; what its checksum covers grows by `more`.
#[inline(always)]
pub(super) fn echo<F: Frame>(frame: &mut F, offset: usize, tuple: &Tuple, more: u32) -> Option<()> {
    let header = frame.header_mut::<[u8; 6]>(offset)?;
    // The identifier is on one side, and zero on the other.
    let [a, b] = (tuple.source_port() | tuple.destination_port()).to_be_bytes();
    let [c, d] = updated([header[2], header[3]], more);
    [header[2], header[3], header[4], header[5]] = [c, d, a, b];
    Some(())
}

/// What the tuple's ports have more than the packet's.
#[inline(always)]
pub(super) fn ports_delta(packet: &Packet, tuple: &Tuple) -> u32 {
    let new = u32::from(tuple.source_port()) + u32::from(tuple.destination_port());
    complement(packet.client_port()) + complement(packet.key.port()) + new
}

/// Both ports as they stand in a packet.
#[inline(always)]
pub(super) const fn port_bytes(tuple: &Tuple) -> [u8; 4] {
    tuple.ports.rotate_left(16).to_be_bytes()
}

/// What is to be added in the place of taking `word` away.
#[inline(always)]
pub(super) const fn complement(word: u16) -> u32 {
    !word as u32
}

/// A checksum over something whose sum has grown by `more`: RFC 1624 section 3, equation 3.
#[inline(always)]
pub(super) const fn updated(check: [u8; 2], more: u32) -> [u8; 2] {
    let sum = complement(u16::from_be_bytes(check)) + more;
    (!checksum::fold(sum)).to_be_bytes()
}

/// As [`updated`], of UDP: zero says that there is none, and a sum of zero is written as its other
/// form (RFC 768).
#[inline(always)]
pub(super) const fn updated_udp(check: [u8; 2], more: u32) -> [u8; 2] {
    if u16::from_be_bytes(check) == 0 {
        return check;
    }
    let new = u16::from_be_bytes(updated(check, more));
    (if new == 0 { 0xffff } else { new }).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_exact_for_every_checksum() {
        for check in (0..=u16::MAX).step_by(if cfg!(miri) { 4099 } else { 1 }) {
            for more in [0, 1, 0xffff, 0x1_2345, 0x3_fffc] {
                let new = u16::from_be_bytes(updated(check.to_be_bytes(), more));
                assert_eq!((u32::from(new) + more) % 0xffff, u32::from(check) % 0xffff);
                let udp = u16::from_be_bytes(updated_udp(check.to_be_bytes(), more));
                let is_right =
                    if check == 0 { udp == 0 } else { udp != 0 && udp % 0xffff == new % 0xffff };
                assert!(is_right, "{check:#x} {more:#x} {udp:#x}");
            }
        }
    }
}
