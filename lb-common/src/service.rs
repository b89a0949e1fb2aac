//! `SERVICES`: what clients reach, and where its slot table lies.

use crate::shared::SharedU64;

use crate::{address::Address, hash::HashKey};

/// TCP's number in the protocol field, as assigned by IANA.
pub const TCP: u8 = 6;
/// UDP's number in the protocol field, as assigned by IANA.
pub const UDP: u8 = 17;

/// What identifies a service in a packet: destination address, port and protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    word: u64,
    rest: [u32; 3],
}

impl ServiceKey {
    /// The key of a service. Port 0 is every port.
    #[must_use]
    pub const fn new(address: Address, port: u16, protocol: u8) -> Self {
        let [first, rest @ ..] = address.words();
        Self { word: Self::word(first, port, protocol, address.is_ipv6()), rest }
    }

    /// The first 64 bits of a key: the address' first 32 bits as they stand in memory, port,
    /// protocol, and which IP version. An IPv4 key is nothing but this word.
    #[inline(always)]
    #[must_use]
    pub const fn word(first: u32, port: u16, protocol: u8, ipv6: bool) -> u64 {
        let version = if ipv6 { 6 } else { 4 };
        first as u64 | (port as u64) << 32 | (protocol as u64) << 48 | version << 56
    }

    /// The key of the service that has every port of the same address and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn every_port(&self) -> Self {
        Self { word: self.word & !(0xffff << 32), rest: self.rest }
    }

    /// The key of a packet from its [`ServiceKey::word`] and the last 96 bits of its address.
    #[inline(always)]
    #[must_use]
    pub const fn from_parts(word: u64, rest: [u32; 3]) -> Self {
        Self { word, rest }
    }

    /// Hash of the key, from which its two places and every flow's hash follow.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self, key: &HashKey) -> u64 {
        let hash = key.destination(self.word);
        if self.is_ipv6() { hash_rest(key, hash, self.rest) } else { hash }
    }

    /// The address that clients reach.
    #[must_use]
    pub const fn address(&self) -> Address {
        let [a, b, c] = self.rest;
        Address::from_words([self.word as u32, a, b, c], self.is_ipv6())
    }

    /// The port that clients reach; 0 is every port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        (self.word >> 32) as u16
    }

    /// [`TCP`] or [`UDP`].
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        (self.word >> 48) as u8
    }

    #[inline(always)]
    const fn is_ipv6(&self) -> bool {
        self.word >> 56 == 6
    }
}

/// Folds the last 96 bits of an IPv6 address into a hash.
#[inline(always)]
#[must_use]
pub const fn hash_rest(key: &HashKey, hash: u64, rest: [u32; 3]) -> u64 {
    let hash = key.absorb(hash, rest[0] as u64 | (rest[1] as u64) << 32);
    key.absorb(hash, rest[2] as u64)
}

/// Where a service's slots lie: one word, so that one store publishes a new table.
///
/// Zero is "no table": the place holds no service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table(u64);

impl Table {
    const PRESENT: u64 = 1 << 63;
    const EMPTY: u64 = 1 << 62;

    /// A table of `1 << bits` slots that starts at slot `base`.
    #[must_use]
    pub const fn new(base: u32, bits: u8) -> Self {
        Self(Self::PRESENT | (bits as u64) << 32 | base as u64)
    }

    /// The table of a service that has no backend to offer.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Self::PRESENT | Self::EMPTY)
    }

    /// The word as it lies in the map.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The word to put into the map.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// Whether a service is here at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Whether the service has no slot.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 & Self::EMPTY != 0
    }

    /// First slot.
    #[inline(always)]
    #[must_use]
    pub const fn base(self) -> u32 {
        self.0 as u32
    }

    /// Binary logarithm of the number of slots, at most 31.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u8 {
        (self.0 >> 32) as u8 & 31
    }

    /// Number of slots; 0 also where there is no service.
    #[must_use]
    pub const fn size(self) -> u32 {
        if self.is_present() && !self.is_empty() { 1 << self.bits() } else { 0 }
    }

    /// The slot of a flow, as an index into all slots.
    #[inline(always)]
    #[must_use]
    pub const fn slot(self, flow: u64) -> u32 {
        self.base() + (flow as u32 & ((1 << self.bits()) - 1))
    }
}

/// One place of `SERVICES`: 32 bytes.
///
/// Everything but the table is written while no table is published there, and stays.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Service {
    word: u64,
    rest: [u32; 3],
    /// Index of the service's counters, and the name by which backends refer to it.
    pub id: u32,
    table: SharedU64,
}

const _: () = assert!(size_of::<Service>() == 32);

impl Service {
    /// A service that no packet finds until its table is published.
    #[must_use]
    pub const fn unpublished(key: ServiceKey, id: u32) -> Self {
        Self { word: key.word, rest: key.rest, id, table: SharedU64::new(0) }
    }

    /// What packets must match.
    #[must_use]
    pub const fn key(&self) -> ServiceKey {
        ServiceKey { word: self.word, rest: self.rest }
    }

    /// Whether packets with this key are for this service, provided that it has a table.
    #[inline(always)]
    #[must_use]
    pub const fn matches(&self, key: &ServiceKey) -> bool {
        self.word == key.word
            && (!key.is_ipv6()
                || (self.rest[0] == key.rest[0]
                    && self.rest[1] == key.rest[1]
                    && self.rest[2] == key.rest[2]))
    }

    /// The table that packets use now.
    #[inline(always)]
    #[must_use]
    pub fn table(&self) -> Table {
        Table(self.table.load())
    }

    /// Makes packets use `table` from the next one on. All that it leads to is written before.
    pub fn publish(&self, table: Table) {
        self.table.store(table.word());
    }
}
