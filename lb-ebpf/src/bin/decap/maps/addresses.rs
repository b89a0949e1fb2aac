use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use lb_common::decap::{LocalAddress, MAX_ADDRESSES};

/// This machine's own addresses, and those at which tunnelled packets may be aimed; the value says
/// which of both it is.
#[btf_map]
pub(crate) static DECAP_ADDRESSES: HashMap<LocalAddress, u32, MAX_ADDRESSES> = HashMap::new();
