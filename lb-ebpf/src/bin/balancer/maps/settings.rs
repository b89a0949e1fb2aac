use aya_ebpf::{btf_maps::Array, macros::btf_map};
use lb_common::Settings;

/// What the packet path must know before it looks at any table: one value.
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1, { super::MMAPABLE }> = Array::new();
