use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::FlowSet;

/// Ports of datagrams whose first fragment was seen, a set a value.
#[btf_map]
pub(crate) static FRAGMENTS: Array<FlowSet, 1, { super::MMAPABLE }> = Array::new();
