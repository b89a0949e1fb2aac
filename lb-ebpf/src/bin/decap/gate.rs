//! The lists of the tunnel's far end, in maps.

use aya_ebpf::btf_maps::lpm_trie::Key;
use lb_common::{
    Address,
    decap::{Gate, LocalAddress, SourcePrefix, known},
};

use crate::maps::{DECAP_ADDRESSES, DECAP_GUE_PORT, DECAP_SOURCES, SourceKey};

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
        is_known(address, known::OWN)
    }

    #[inline(always)]
    fn admits(&self, destination: &Address) -> bool {
        is_known(destination, known::TARGET)
    }

    #[inline(always)]
    fn gue_port(&self) -> u16 {
        DECAP_GUE_PORT.get(0).map_or(0, |port| *port as u16)
    }
}

#[inline(always)]
fn is_known(address: &Address, bit: u32) -> bool {
    // SAFETY: the value is one aligned word, which a concurrent change cannot tear.
    let value = unsafe { DECAP_ADDRESSES.get(LocalAddress::of(address)) };
    value.is_some_and(|value| value & bit != 0)
}
