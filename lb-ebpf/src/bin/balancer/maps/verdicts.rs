use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::Verdict;

/// Packets by verdict.
#[btf_map]
pub(crate) static VERDICTS: PerCpuArray<u64, { Verdict::COUNT }> = PerCpuArray::new();
