//! The lists of the tunnel's far end, in maps.

use aya_ebpf::{btf_maps::lpm_trie::Key, programs::XdpContext};
use lb_common::{
    Address, Frame,
    decap::{Gate, LocalAddress, Segment, SourcePrefix, known},
};

use crate::{
    maps::{DECAP_ADDRESSES, DECAP_GUE_PORT, DECAP_SECOND_CHANCE, DECAP_SOURCES, SourceKey},
    sockets,
};

/// The maps that `lbctl decap attach` fills, and the kernel's sockets.
pub(crate) struct KernelGate<'a> {
    pub(crate) context: &'a XdpContext,
}

impl Gate for KernelGate<'_> {
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

    #[inline(always)]
    fn gives_on(&self) -> bool {
        DECAP_SECOND_CHANCE.get(0).is_some_and(|is_on| *is_on != 0)
    }

    #[inline(always)]
    fn knows<F: Frame>(&self, frame: &F, segment: &Segment) -> bool {
        sockets::know(self.context, frame, segment)
    }
}

#[inline(always)]
fn is_known(address: &Address, bit: u32) -> bool {
    // SAFETY: the value is one aligned word, which a concurrent change cannot tear.
    let value = unsafe { DECAP_ADDRESSES.get(LocalAddress::of(address)) };
    value.is_some_and(|value| value & bit != 0)
}
