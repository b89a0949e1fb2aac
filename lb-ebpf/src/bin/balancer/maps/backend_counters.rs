use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::Counters;

/// Traffic by backend index.
#[btf_map]
pub(crate) static BACKEND_COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();
