use aya_ebpf::{btf_maps::Array, macros::btf_map};

/// 1 if packets of connections that this machine does not have are given on; else 0.
#[btf_map]
pub(crate) static DECAP_SECOND_CHANCE: Array<u32, 1> = Array::new();
