use aya_ebpf::{bindings::BPF_F_NO_PREALLOC, btf_maps::HashMap, macros::btf_map};
use lb_common::nat::{Translation, Tuple};

/// What becomes of packets of translated flows, two entries a flow. Memory is taken as flows come.
#[btf_map]
pub(crate) static TRANSLATIONS: HashMap<Tuple, Translation, 1, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();
