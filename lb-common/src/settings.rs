//! `SETTINGS`: what the packet path must know before it looks at any table.

use crate::hash::HashKey;

/// The one value of `SETTINGS`, written before any service is published.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Secret of all hashes.
    pub hash_key: HashKey,
    /// Length of `SERVICES` less one; the length is a power of two.
    pub service_mask: u32,
    /// Length of `FLOWS` less one; the length is a power of two.
    pub flow_mask: u32,
    /// What is in use of all that takes further look-ups, as bits of [`feature`].
    pub features: u32,
    /// New entries that one CPU may make in the flow cache in one tick. See [`crate::flow::tick`].
    pub inserts_per_tick: u32,
    /// Answers of its own (ICMP, RST) that one CPU may give in one tick of the flow cache.
    pub replies_per_tick: u32,
    /// Length of `FRAGMENTS` less one; the length is a power of two.
    pub fragment_mask: u32,
    /// Length of `SOURCE_BUCKETS` less one; the length is a power of two.
    pub source_mask: u32,
    /// The kernel's clock ticks (jiffies) in a second.
    pub hz: u32,
    /// Jiffies in one tick of the flow cache, as a shift; see [`crate::flow::tick`].
    pub tick: u64,
}

impl Settings {
    /// The tick of the flow cache, modulo 65,536, at a time in jiffies.
    #[inline(always)]
    #[must_use]
    pub const fn tick_at(&self, jiffies: u64) -> u16 {
        // The mask shows the verifier that the shift is in bounds.
        (jiffies >> (self.tick & 15)) as u16
    }
}

/// Bits of [`Settings::features`]. A bit that is set needlessly costs packets a look-up; one that
/// is missing costs a service.
pub mod feature {
    /// Some service has every port.
    pub const EVERY_PORT: u32 = 1;
    /// Some service has a range of ports.
    pub const RANGES: u32 = 1 << 1;
    /// Some service has a prefix of addresses.
    pub const PREFIXES: u32 = 1 << 2;
    /// Some service translates addresses, or did so lately: packets that are for no service may
    /// be answers.
    pub const NAT: u32 = 1 << 3;
    /// Some service remembers its flows.
    pub const REMEMBERED: u32 = 1 << 4;
}
