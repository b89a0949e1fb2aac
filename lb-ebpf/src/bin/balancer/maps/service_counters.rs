use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::Counters;

/// Traffic by service identifier.
#[btf_map]
pub(crate) static SERVICE_COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();
