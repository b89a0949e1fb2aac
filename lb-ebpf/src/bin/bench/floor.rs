//! The floor: the least that a packet needs, parse and encapsulate towards a computed backend.
//!
//! No table, no counter, no check but those without which the verifier refuses the program.

use crate::driver::link;
use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    programs::XdpContext,
};
use lb_common::{Ethernet, Frame, Header, checksum};
use lb_ebpf::XdpFrame;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

/// 10.1.0.1 and 10.1.0.0/26, where the backends are.
const SOURCE: [u8; 4] = [10, 1, 0, 1];
const BACKENDS: u32 = 64;
/// Sum of the outer header's constant words.
const CONSTANT: u32 = 0x4500 + 0x4000 + 0x4004 + 0x0a01 + 0x0001 + 0x0a01;

#[repr(C)]
#[derive(Clone, Copy)]
struct Headers<T> {
    ethernet: Ethernet,
    ip: T,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Flow<T> {
    headers: Headers<T>,
    ports: [u8; 4],
}

// SAFETY: headers of alignment 1, valid for every bit pattern, one after the other.
unsafe impl<T: Header> Header for Headers<T> {}
// SAFETY: as above.
unsafe impl<T: Header> Header for Flow<T> {}

#[inline(never)]
pub(crate) extern "C" fn floor(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    let mut frame = XdpFrame::new(&context);
    let Some(ethernet) = frame.header::<Ethernet>(0) else {
        return xdp_action::XDP_PASS;
    };
    let done = match ethernet.ether_type() {
        Ethernet::IPV4 => ipv4(&mut frame),
        Ethernet::IPV6 => ipv6(&mut frame),
        _ => None,
    };
    if done.is_some() { xdp_action::XDP_TX } else { xdp_action::XDP_PASS }
}

#[inline(always)]
fn ipv4(frame: &mut XdpFrame<'_>) -> Option<()> {
    let flow = frame.header::<Flow<Ipv4Hdr>>(0)?;
    let ip = flow.headers.ip;
    let number = hash(
        u64::from(u32::from_ne_bytes(ip.src_addr)) << 32
            | u64::from(u32::from_ne_bytes(ip.dst_addr)),
        u64::from(u32::from_ne_bytes(flow.ports)) | u64::from(ip.proto) << 32,
    );
    let length = u32::from(u16::from_be_bytes(ip.tot_len)) + 20;
    if !frame.grow(20) {
        return None;
    }
    let outer = frame.header_mut::<Headers<Ipv4Hdr>>(0)?;
    let sum = CONSTANT + length + u32::from(ip.tos) + number;
    outer.ethernet = Ethernet::new(link(4), Ethernet::IPV4);
    outer.ip.vihl = 0x45;
    outer.ip.tos = ip.tos;
    outer.ip.tot_len = (length as u16).to_be_bytes();
    outer.ip.id = [0; 2];
    outer.ip.frags = [0x40, 0];
    outer.ip.ttl = 64;
    outer.ip.proto = 4;
    outer.ip.check = (!checksum::fold(sum)).to_be_bytes();
    outer.ip.src_addr = SOURCE;
    outer.ip.dst_addr = (0x0a01_0000 | number).to_be_bytes();
    Some(())
}

#[inline(always)]
fn ipv6(frame: &mut XdpFrame<'_>) -> Option<()> {
    let flow = frame.header::<Flow<Ipv6Hdr>>(0)?;
    let ip = &flow.headers.ip;
    let [a, b] = halves(&ip.src_addr);
    let [c, d] = halves(&ip.dst_addr);
    let ports = u64::from(u32::from_ne_bytes(flow.ports)) | u64::from(ip.next_hdr) << 32;
    let number = hash(a.wrapping_mul(3) ^ c, b.wrapping_mul(5) ^ d ^ ports);
    let length = u16::from_be_bytes(ip.payload_len) + 40;
    let class = ip.vcf;
    if !frame.grow(40) {
        return None;
    }
    let outer = frame.header_mut::<Headers<Ipv6Hdr>>(0)?;
    outer.ethernet = Ethernet::new(link(4), Ethernet::IPV6);
    outer.ip.vcf = class;
    outer.ip.payload_len = length.to_be_bytes();
    outer.ip.next_hdr = 41;
    outer.ip.hop_limit = 64;
    // Addresses made of the packet's own: the compiler would call a function to store constants.
    outer.ip.src_addr = octets([c, d]);
    outer.ip.dst_addr = octets([c, d ^ u64::from(number)]);
    Some(())
}

/// An IPv6 address from its halves as numbers.
#[inline(always)]
fn octets(halves: [u64; 2]) -> [u8; 16] {
    let [a, b] = halves;
    lb_common::address::octets([a as u32, (a >> 32) as u32, b as u32, (b >> 32) as u32])
}

/// Both halves of an IPv6 address as numbers.
#[inline(always)]
fn halves(address: &[u8; 16]) -> [u64; 2] {
    let [a, b, c, d] = lb_common::address::words(*address);
    [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
}

#[inline(always)]
fn hash(first: u64, second: u64) -> u32 {
    let mixed =
        (first ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 58) as u32 & (BACKENDS - 1)
}
