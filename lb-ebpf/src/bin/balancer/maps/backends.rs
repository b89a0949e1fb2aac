use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::Backend;

/// Backends by the index that slots name. Index 0 stays unused.
#[btf_map]
pub(crate) static BACKENDS: Array<Backend, 1, { super::MMAPABLE }> = Array::new();
