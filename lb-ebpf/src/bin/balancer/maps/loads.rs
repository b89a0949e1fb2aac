use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::load::Load;

/// How busy backends are, by index.
#[btf_map]
pub(crate) static LOADS: Array<Load, 1, { super::MMAPABLE }> = Array::new();
