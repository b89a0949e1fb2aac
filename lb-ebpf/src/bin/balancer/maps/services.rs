use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::Service;

/// Services by place, see [`lb_common::hash::places`].
#[btf_map]
pub(crate) static SERVICES: Array<Service, 1, { super::MMAPABLE }> = Array::new();
