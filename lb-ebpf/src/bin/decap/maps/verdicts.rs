use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::DecapVerdict;

/// Packets at the tunnel's far end by verdict.
#[btf_map]
pub(crate) static DECAP_VERDICTS: PerCpuArray<u64, { DecapVerdict::COUNT }> = PerCpuArray::new();
