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

lb_ebpf::object!();
