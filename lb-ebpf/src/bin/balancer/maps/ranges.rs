use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::ranges::RangeLine;

/// Ranges of ports, those of one address and protocol a value. Line 0 is none.
#[btf_map]
pub(crate) static RANGES: Array<RangeLine, 1, { super::MMAPABLE }> = Array::new();
