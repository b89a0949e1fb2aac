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
    /// Number of services that have every port. While it is zero their lookup is skipped.
    pub every_port_services: u32,
    /// New entries that one CPU may make in the flow cache in one tick. See [`crate::flow::TICK`].
    pub inserts_per_tick: u32,
}
