use aya_ebpf::{btf_maps::Array, macros::btf_map};

/// The UDP port of GUE; 0 opens none.
#[btf_map]
pub(crate) static DECAP_GUE_PORT: Array<u32, 1> = Array::new();
