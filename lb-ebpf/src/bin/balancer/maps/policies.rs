use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::Policy;

/// Policies by the index that table words name. Policy 0 asks for nothing.
#[btf_map]
pub(crate) static POLICIES: Array<Policy, 1, { super::MMAPABLE }> = Array::new();
