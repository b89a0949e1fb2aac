use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::load::Rotation;

/// Whose turn it is, by policy.
#[btf_map]
pub(crate) static ROTATIONS: Array<Rotation, 1, { super::MMAPABLE }> = Array::new();
