//! The kernel's side: reads packets and maps, calls `lb-common`, writes packets and counters.
//!
//! Thin on purpose: what can be decided without the kernel is decided in `lb-common`. Each program
//! is a folder under `bin`, with the maps that it has; this library holds what they share. The
//! crate compiles for the host too, so that rust-analyzer and clippy can read it there; it only
//! runs as BPF.

#![no_std]

mod counter;
mod frame;
mod program;

pub use counter::bump;
pub use frame::XdpFrame;
