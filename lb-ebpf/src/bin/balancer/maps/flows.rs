use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::FlowSet;

/// The flow cache, a set a value.
#[btf_map]
pub(crate) static FLOWS: Array<FlowSet, 1, { super::MMAPABLE }> = Array::new();
