use aya_ebpf::{
    btf_maps::{LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use lb_common::service::{MappedAddress, Prefix};

/// Prefixes of addresses that have services.
#[btf_map]
pub(crate) static PREFIXES: LpmTrie<MappedAddress, Prefix, 1> = LpmTrie::new();

/// The key on the stack, where the verifier demands alignment that [`Key`] does not have: the
/// address behind the length of four bytes.
#[repr(C, align(8))]
pub(crate) struct PrefixKey(pub(crate) Key<MappedAddress>);
