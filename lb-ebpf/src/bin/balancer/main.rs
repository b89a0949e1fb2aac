//! `balancer`: the XDP program of a load balancer.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod maps;
mod path;
mod settle;
mod tables;

use aya_ebpf::{macros::xdp, programs::XdpContext};

#[xdp]
fn balancer(context: XdpContext) -> u32 {
    path::path(&context)
}

/// The same for interfaces whose frames come in several buffers: jumbo frames. An interface has one
/// of both.
#[xdp(frags)]
fn balancer_frags(context: XdpContext) -> u32 {
    path::path(&context)
}

/// Tells the daemon the kernel's tick count, the clock of the flow cache: only test runs call it.
#[xdp]
fn clock(_context: XdpContext) -> u32 {
    tables::jiffies() as u32
}

lb_ebpf::object!();
