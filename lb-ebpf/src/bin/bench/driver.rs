//! The driver around a packet function.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    btf_maps::Array,
    macros::btf_map,
    programs::XdpContext,
};
use lb_common::{
    Ethernet, Frame,
    bench::{Bench, client},
};
use lb_ebpf::XdpFrame;
use network_types::ip::{Ipv4Hdr, Ipv6Hdr};

/// What to write into packets, and what became of them: one value.
#[btf_map]
static BENCH: Array<Bench, 1, { aya_ebpf::bindings::BPF_F_MMAPABLE as usize }> = Array::new();

/// Runs `packet` on the next flow's packet and restores the frame.
#[inline(always)]
pub(crate) fn drive(context: &XdpContext, packet: extern "C" fn(*mut xdp_md) -> u32) -> u32 {
    let Some(bench) = BENCH.get_ptr_mut(0) else {
        return xdp_action::XDP_ABORTED;
    };
    // SAFETY: a pointer from a map look-up; one test run at a time uses the map.
    let bench = unsafe { &mut *bench };
    let number = bench.next;
    bench.next = number.wrapping_add(1);
    if write_client(&mut XdpFrame::new(context), number & bench.flow_mask).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    if save_ends(&XdpFrame::new(context), &mut bench.ends).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    let action = opaque(u64::from(packet(context.ctx))) as u32;
    match action {
        xdp_action::XDP_TX => bench.sent += 1,
        xdp_action::XDP_PASS => bench.passed += 1,
        _ => bench.other += 1,
    }
    if action == xdp_action::XDP_TX && undo(&mut XdpFrame::new(context), &bench.ends).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_PASS
}

/// What the packet path takes one off.
const HOP_LIMIT: u8 = 64;

#[inline(always)]
fn write_client(frame: &mut XdpFrame<'_>, number: u32) -> Option<()> {
    let (address, port) = client(number);
    if frame.header::<Ethernet>(0)?.ether_type() == Ethernet::IPV4 {
        let ip = frame.header_mut::<Ipv4Hdr>(Ethernet::LEN)?;
        ip.src_addr = address.to_ne_bytes();
        ip.ttl = HOP_LIMIT;
        *frame.header_mut::<[u8; 2]>(Ethernet::LEN + Ipv4Hdr::LEN)? = port.to_ne_bytes();
    } else {
        *frame.header_mut::<[u8; 4]>(Ethernet::LEN + 20)? = address.to_ne_bytes();
        frame.header_mut::<Ipv6Hdr>(Ethernet::LEN)?.hop_limit = HOP_LIMIT;
        *frame.header_mut::<[u8; 2]>(Ethernet::LEN + Ipv6Hdr::LEN)? = port.to_ne_bytes();
    }
    Some(())
}

/// Removes the outer header and writes the Ethernet header anew, whose bytes it overwrote. The
/// inner packet is of the family whose number the outer one carries.
#[inline(always)]
fn undo(frame: &mut XdpFrame<'_>, ends: &[u64; 5]) -> Option<()> {
    let is_ipv4 = frame.header::<Ethernet>(0)?.ether_type() == Ethernet::IPV4;
    let (outer, protocol) = if is_ipv4 {
        (Ipv4Hdr::LEN, frame.header::<Ipv4Hdr>(Ethernet::LEN)?.proto)
    } else {
        (Ipv6Hdr::LEN, frame.header::<Ipv6Hdr>(Ethernet::LEN)?.next_hdr)
    };
    let ether_type = match protocol {
        lb_common::forward::IP_IN_IP => Ethernet::IPV4,
        lb_common::forward::IPV6_IN_IP => Ethernet::IPV6,
        // Forwarded without a tunnel.
        _ => return restore_ends(frame, ends, is_ipv4),
    };
    if !frame.shrink(outer) {
        return None;
    }
    *frame.header_mut::<Ethernet>(0)? = Ethernet::new(link(2), ether_type);
    Some(())
}

/// Saves what translation replaces and [`write_client`] does not write: the destination's port, and
/// all of an IPv6 packet's addresses or an IPv4 packet's.
#[inline(always)]
fn save_ends(frame: &XdpFrame<'_>, ends: &mut [u64; 5]) -> Option<()> {
    let word = |offset| frame.header::<[u8; 8]>(offset).map(|word| u64::from_ne_bytes(*word));
    let port = |offset| frame.header::<[u8; 2]>(offset).map(|port| u16::from_ne_bytes(*port));
    if frame.header::<Ethernet>(0)?.ether_type() == Ethernet::IPV4 {
        ends[0] = word(IPV4_ADDRESSES)?;
        ends[4] = port(Ethernet::LEN + Ipv4Hdr::LEN + 2)?.into();
        return Some(());
    }
    ends[0] = word(IPV6_ADDRESSES)?;
    ends[1] = word(IPV6_ADDRESSES + 8)?;
    ends[2] = word(IPV6_ADDRESSES + 16)?;
    ends[3] = word(IPV6_ADDRESSES + 24)?;
    ends[4] = port(Ethernet::LEN + Ipv6Hdr::LEN + 2)?.into();
    Some(())
}

#[inline(always)]
fn restore_ends(frame: &mut XdpFrame<'_>, ends: &[u64; 5], is_ipv4: bool) -> Option<()> {
    let port = (ends[4] as u16).to_ne_bytes();
    if is_ipv4 {
        *frame.header_mut::<[u8; 8]>(IPV4_ADDRESSES)? = ends[0].to_ne_bytes();
        *frame.header_mut::<[u8; 2]>(Ethernet::LEN + Ipv4Hdr::LEN + 2)? = port;
        return Some(());
    }
    *frame.header_mut::<[u8; 8]>(IPV6_ADDRESSES)? = ends[0].to_ne_bytes();
    *frame.header_mut::<[u8; 8]>(IPV6_ADDRESSES + 8)? = ends[1].to_ne_bytes();
    *frame.header_mut::<[u8; 8]>(IPV6_ADDRESSES + 16)? = ends[2].to_ne_bytes();
    *frame.header_mut::<[u8; 8]>(IPV6_ADDRESSES + 24)? = ends[3].to_ne_bytes();
    *frame.header_mut::<[u8; 2]>(Ethernet::LEN + Ipv6Hdr::LEN + 2)? = port;
    Some(())
}

/// Where the addresses start in frames without tags.
const IPV4_ADDRESSES: usize = Ethernet::LEN + 12;
const IPV6_ADDRESSES: usize = Ethernet::LEN + 8;

/// Locally administered addresses that end in `last`, in two numbers whose origin the optimiser does
/// not know: it would store known bytes in six pieces.
#[inline(always)]
pub(crate) fn link(last: u8) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = opaque(0x0002_0100_0000_0002).to_le_bytes();
    let [i, j, k, l, ..] = opaque(u64::from(last) << 24).to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// Hides a value's origin from the optimiser: it would know the function's few results, and the
/// verifier would not.
#[inline(always)]
pub(crate) fn opaque(mut value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: a move of a register to itself, of which the optimiser does not know that.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) value);
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        value = core::hint::black_box(value);
    }
    value
}
