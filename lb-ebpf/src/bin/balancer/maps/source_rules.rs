use aya_ebpf::{
    btf_maps::{LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use lb_common::policy::RulePrefix;

/// Which sources policies allow (1) and deny (0); the longest prefix counts.
#[btf_map]
pub(crate) static SOURCE_RULES: LpmTrie<RulePrefix, u32, 1> = LpmTrie::new();

/// The key on the stack, where the verifier demands alignment that [`Key`] does not have.
#[repr(C, align(8))]
pub(crate) struct RuleKey(pub(crate) Key<RulePrefix>);
