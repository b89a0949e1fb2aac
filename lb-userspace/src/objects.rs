//! The compiled XDP programs, embedded by the build script.
//!
//! Each is an ELF object as bpftool and aya load it, aligned so that it can be parsed in place.

use aya::include_bytes_aligned;

/// The load balancer's program and its maps.
pub static BALANCER: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/balancer"));

/// Programs that measure the packet path of the balancer, for `cargo xtask bench`.
pub static BENCH: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench"));

/// The program of a backend that takes tunnelled packets out of their tunnel.
pub static DECAP: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decap"));

/// A program that passes everything, for the far ends of veth pairs.
pub static PASS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pass"));
