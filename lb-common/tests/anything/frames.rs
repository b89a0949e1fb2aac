//! Frames that are nearly packets to the services of the tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::draw::Draw;

/// The addresses of everything, so that services are found.
pub(crate) const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(10, 200, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x200, 0, 0, 0, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1)),
];
/// The ports of everything.
pub(crate) const PORTS: [u16; 4] = [0, 80, 80, 443];
/// The port of tunnels in UDP.
pub(crate) const GUE_PORT: u16 = 6080;
/// TCP, UDP, ICMP and ICMPv6.
pub(crate) const PROTOCOLS: [u8; 6] = [6, 17, 6, 17, 1, 58];

/// Protocols that may stand behind an IP header: also tunnels and extension headers.
const FOLLOWING: [u8; 14] = [6, 17, 6, 17, 6, 17, 1, 58, 0, 43, 44, 51, 60, 44];

/// A packet to a service, damaged or cut in places; now and then anything at all.
pub(crate) fn any(draw: &mut Draw) -> Vec<u8> {
    if draw.below(20) == 0 {
        return (0..draw.below(200)).map(|_| draw.byte()).collect();
    }
    let mut frame = vec![2; 12];
    for _ in 0..draw.below(4).saturating_sub(1) {
        frame.extend([draw.one_of(&[[0x81, 0], [0x88, 0xa8]]), [0, 7]].as_flattened());
    }
    let packet = packet(draw, 2);
    frame.extend(if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] });
    frame.extend(packet);
    damaged(draw, frame)
}

/// A packet in a tunnel, damaged or cut in places.
pub(crate) fn any_tunnel(draw: &mut Draw) -> Vec<u8> {
    let inner = packet(draw, 0);
    let protocol = if inner[0] >> 4 == 4 { 4 } else { 41 };
    let to = draw.one_of(&ADDRESSES);
    let outer = if draw.below(2) == 0 {
        around(draw, to, protocol, &inner)
    } else {
        let words = mark(draw, to);
        let length = (inner.len() + words.len()) as u16 + 12;
        let udp = [0xc000, draw.one_of(&[GUE_PORT, GUE_PORT, 80]), length, 0].map(u16::to_be_bytes);
        let first = draw.one_of(&[0, 0, 0, 1, 0x20, 0x40]) + words.len() as u8 / 4;
        let gue = [&[first, protocol, 0, 0], &words[..]].concat();
        around(draw, to, 17, &[udp.as_flattened(), &gue, &inner].concat())
    };
    let ether_type = if to.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
    damaged(draw, [&[2; 12][..], &ether_type, &outer].concat())
}

/// Nothing, or a mark that names another backend.
fn mark(draw: &mut Draw, to: IpAddr) -> Vec<u8> {
    let (family, length) = if to.is_ipv4() { (4, 4) } else { (6, 16) };
    if draw.below(2) == 0 {
        return Vec::new();
    }
    let address: Vec<u8> = (0..length).map(|_| draw.byte()).collect();
    [&[b'l', b'b', draw.one_of(&[1, 1, 2, 3]), family][..], &address].concat()
}

/// An IP packet; ICMP messages quote another one, down to so many levels.
fn packet(draw: &mut Draw, levels: u32) -> Vec<u8> {
    let to = draw.one_of(&ADDRESSES[..2]);
    let mut protocol = draw.one_of(&FOLLOWING);
    let mut payload = transport(draw, protocol, levels);
    // Extension headers, and what claims to be some.
    for _ in 0..draw.below(12).saturating_sub(9) {
        let header = [protocol, draw.one_of(&[0, 0, 1, 255]), draw.byte(), draw.byte(), 0, 0, 0, 0];
        payload = [&header[..], &payload].concat();
        protocol = draw.one_of(&FOLLOWING[6..]);
    }
    around(draw, to, protocol, &payload)
}

fn transport(draw: &mut Draw, protocol: u8, levels: u32) -> Vec<u8> {
    let ports = [draw.one_of(&PORTS), draw.one_of(&PORTS)].map(u16::to_be_bytes);
    let payload: Vec<u8> = (0..draw.below(60)).map(|_| draw.byte()).collect();
    match protocol {
        6 => {
            let flags = draw.one_of(&[2, 16, 18, 4, 1]);
            [ports.as_flattened(), &[0; 8], &[5 << 4, flags, 0, 0, 0, 0, 0, 0], &payload].concat()
        }
        17 => {
            let length = (payload.len() as u16 + 8).to_be_bytes();
            [ports.as_flattened(), &length, &[0, 0], &payload].concat()
        }
        _ => {
            let quoted = if levels > 0 { packet(draw, levels - 1) } else { payload };
            let kind = draw.one_of(&[0, 1, 2, 3, 4, 8, 11, 12, 128, 129]);
            [&[kind, draw.one_of(&[0, 4]), 0, 0, 0, 0, 5, 0][..], &quoted].concat()
        }
    }
}

/// An IP header with right lengths, options and fragments now and then, and no right checksum.
fn around(draw: &mut Draw, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match to {
        IpAddr::V4(to) => {
            let options = draw.below(16).saturating_sub(5);
            let header = 20 + options * 4;
            let length = ((header + payload.len()) as u16).to_be_bytes();
            let fragment =
                draw.one_of(&[[0, 0], [0x40, 0], [0x40, 0], [0x20, 0], [0, 2], [0x20, 9]]);
            let start = [0x40 | (header / 4) as u8, 0, length[0], length[1], 0, 1];
            let hop_limit = draw.one_of(&[64, 64, 1, 0]);
            let middle = [fragment[0], fragment[1], hop_limit, protocol, 0, 0];
            let from = draw.one_of(&[[198, 51, 100, 7], [10, 1, 0, 1]]);
            let options: Vec<u8> = (0..options * 4).map(|_| draw.byte()).collect();
            [&start[..], &middle, &from, &to.octets(), &options, payload].concat()
        }
        IpAddr::V6(to) => {
            let length = (payload.len() as u16).to_be_bytes();
            let start = [0x60, draw.byte(), 0, 0, length[0], length[1], protocol];
            let hop_limit = draw.one_of(&[64, 64, 1, 0]);
            let from = draw.one_of(&[0x2001, 0xfd00]);
            let from = Ipv6Addr::new(from, 1, 0, 0, 0, 0, 0, 1);
            [&start[..], &[hop_limit], &from.octets(), &to.octets(), payload].concat()
        }
    }
}

/// The frame with a few bytes replaced, and cut or longer now and then.
fn damaged(draw: &mut Draw, mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..draw.below(6).saturating_sub(2) {
        let at = draw.below(frame.len().min(120));
        frame[at] = draw.byte();
    }
    match draw.below(8) {
        0 => frame.truncate(draw.below(frame.len() + 1)),
        1 => frame.extend((0..draw.below(20)).map(|_| 0)),
        _ => {}
    }
    frame
}
