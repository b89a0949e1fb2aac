//! `bench`: drivers that measure the packet path by a repeated `BPF_PROG_TEST_RUN`.
//!
//! A repeated run does not reset the packet, so each driver writes the headers of the next flow,
//! calls one packet function and takes back what that did to the frame. The programs differ in
//! nothing but the function that they call: `nothing`, the lean floor, or the real path.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod driver;
mod floor;
#[path = "../balancer/maps/mod.rs"]
mod maps;
#[path = "../balancer/path.rs"]
mod path;
#[path = "../balancer/settle.rs"]
mod settle;
#[path = "../balancer/tables.rs"]
mod tables;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

#[xdp]
fn bench_driver(context: XdpContext) -> u32 {
    driver::drive(&context, nothing)
}

#[xdp]
fn bench_floor(context: XdpContext) -> u32 {
    driver::drive(&context, floor::floor)
}

#[xdp]
fn bench_path(context: XdpContext) -> u32 {
    driver::drive(&context, balancer)
}

/// What the driver costs by itself, with the call of a function.
#[inline(never)]
extern "C" fn nothing(_context: *mut aya_ebpf::bindings::xdp_md) -> u32 {
    driver::opaque(u64::from(xdp_action::XDP_PASS)) as u32
}

/// The whole of the `balancer` program.
#[inline(never)]
extern "C" fn balancer(context: *mut aya_ebpf::bindings::xdp_md) -> u32 {
    path::path(&XdpContext::new(context))
}

lb_ebpf::object!();
