use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::SlotLine;

/// The slots of all services, sixteen a value.
#[btf_map]
pub(crate) static SLOTS: Array<SlotLine, 1, { super::MMAPABLE }> = Array::new();
