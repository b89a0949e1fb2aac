use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use lb_common::policy::ServerKey;

/// Backends by the server identifier in QUIC connection identifiers.
#[btf_map]
pub(crate) static SERVERS: HashMap<ServerKey, u32, 1> = HashMap::new();
