//! `decap`: the XDP program of a backend, which removes the tunnel header.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod gate;
mod maps;
mod sockets;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use gate::KernelGate;
use lb_common::Action;
use lb_ebpf::XdpFrame;

#[xdp]
fn decap(context: XdpContext) -> u32 {
    open(&context)
}

/// The same for interfaces whose frames come in several buffers: jumbo frames.
#[xdp(frags)]
fn decap_frags(context: XdpContext) -> u32 {
    open(&context)
}

#[inline(always)]
fn open(context: &XdpContext) -> u32 {
    let mut frame = XdpFrame::new(context);
    let verdict = lb_common::decap::open(&mut frame, &KernelGate { context });
    lb_ebpf::bump(maps::DECAP_VERDICTS.get_ptr_mut(verdict as u32));
    match verdict.action() {
        Action::Drop => xdp_action::XDP_DROP,
        Action::Pass | Action::Transmit | Action::Redirect => xdp_action::XDP_PASS,
    }
}

lb_ebpf::object!();
