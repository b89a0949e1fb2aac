//! `balancer`: the XDP program of a load balancer.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

mod maps;
mod tables;

use aya_ebpf::{macros::xdp, programs::XdpContext};
use lb_ebpf::XdpFrame;
use tables::MapTables;

#[xdp]
fn balancer(context: XdpContext) -> u32 {
    let tables = MapTables::new(&context);
    let mut frame = XdpFrame::new(&context);
    let verdict = lb_common::balance(&mut frame, &tables);
    tables.settle(verdict)
}

/// Tells the daemon the kernel's tick count, the clock of the flow cache: only test runs call it.
#[xdp]
fn clock(_context: XdpContext) -> u32 {
    tables::jiffies() as u32
}

lb_ebpf::object!();
