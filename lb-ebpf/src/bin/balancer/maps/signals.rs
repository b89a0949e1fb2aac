use aya_ebpf::{btf_maps::PerCpuArray, macros::btf_map};
use lb_common::signals::Signals;

/// What packets tell of the health of backends, by index.
#[btf_map]
pub(crate) static SIGNALS: PerCpuArray<Signals, 1> = PerCpuArray::new();
