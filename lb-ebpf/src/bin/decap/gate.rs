//! The lists of the tunnel's far end, in maps.

use aya_ebpf::btf_maps::lpm_trie::Key;
use lb_common::{
    Address,
    decap::{Gate, LocalAddress, SourcePrefix},
};

use crate::maps::{DECAP_ADDRESSES, DECAP_SOURCES, SourceKey};

/// The maps that `lbctl decap attach` fills.
pub(crate) struct MapGate;

impl Gate for MapGate {
    #[inline(always)]
    fn permits(&self, source: &Address) -> bool {
        let key = SourceKey(Key::new(SourcePrefix::BITS, SourcePrefix::of(source)));
        DECAP_SOURCES.get(&key.0).is_some()
    }

    #[inline(always)]
    fn has(&self, address: &Address) -> bool {
        // SAFETY: only the presence of the value matters, so a concurrent change cannot tear it.
        unsafe { DECAP_ADDRESSES.get(LocalAddress::of(address)) }.is_some()
    }
}
