use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::layout::Layout;

/// What lies where in the other maps, for daemons of other versions; packets do not read it.
#[btf_map]
pub(crate) static LAYOUT: Array<Layout, 1, { super::MMAPABLE }> = Array::new();
