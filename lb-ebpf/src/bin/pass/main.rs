//! `pass`: an XDP program that passes everything.
//!
//! Veth takes frames sent by XDP only if the peer has a program too, so the test rig attaches this
//! one to the far ends, and `pass_frags` where frames come in several buffers.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

#[xdp]
fn pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

#[xdp(frags)]
fn pass_frags(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

lb_ebpf::object!();
