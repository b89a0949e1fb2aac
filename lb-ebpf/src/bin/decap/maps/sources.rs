use aya_ebpf::{
    btf_maps::{LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use lb_common::decap::{MAX_SOURCES, SourcePrefix};

/// Prefixes of load balancers whose tunnels are opened.
#[btf_map]
pub(crate) static DECAP_SOURCES: LpmTrie<SourcePrefix, u32, MAX_SOURCES> = LpmTrie::new();

/// The key on the stack, where the verifier demands alignment that [`Key`] does not have.
#[repr(C, align(8))]
pub(crate) struct SourceKey(pub(crate) Key<SourcePrefix>);
