use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::flow::FlowCounters;

/// How the flow cache does on this CPU: one value.
#[btf_map]
pub(crate) static FLOW_COUNTERS: PerCpuArray<FlowCounters, 1> = PerCpuArray::new();
