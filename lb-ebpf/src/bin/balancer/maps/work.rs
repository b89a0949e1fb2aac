use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::uncommon::Work;

/// The packet that this CPU is working on, if it is none of the common ones: one value.
#[btf_map]
pub(crate) static WORK: PerCpuArray<Work, 1> = PerCpuArray::new();
