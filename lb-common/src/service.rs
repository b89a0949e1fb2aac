//! `SERVICES`: what clients reach, and where its slot table lies.

use crate::shared::SharedU64;

use crate::{address::Address, hash::HashKey};

/// ICMP's number in the protocol field, as assigned by IANA.
pub const ICMP: u8 = 1;
/// TCP's number in the protocol field, as assigned by IANA.
pub const TCP: u8 = 6;
/// UDP's number in the protocol field, as assigned by IANA.
pub const UDP: u8 = 17;
/// ICMPv6's number in the protocol field, as assigned by IANA.
pub const ICMPV6: u8 = 58;

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

    /// The key of a service that has every address of a prefix; `address` is the prefix' own.
    #[must_use]
    pub const fn of_prefix(address: Address, length: u8, port: u16, protocol: u8) -> Self {
        Self::new(address, port, protocol).within(&Prefix::new(address, length))
    }

    /// The first 64 bits of a key: the address' first 32 bits as they stand in memory, port,
    /// protocol, and which IP version. The key of an IPv4 address is nothing but this word.
    #[inline(always)]
    #[must_use]
    pub const fn word(first: u32, port: u16, protocol: u8, ipv6: bool) -> u64 {
        let version = if ipv6 { IPV6 } else { IPV4 };
        first as u64 | (port as u64) << 32 | (protocol as u64) << 48 | version << 56
    }

    /// The key of the service that has every port of the same address and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn every_port(&self) -> Self {
        Self { word: self.word & !(0xffff << 32), rest: self.rest }
    }

    /// The key of the service with a range of ports that begins at this one.
    #[inline(always)]
    #[must_use]
    pub const fn range_from(&self, first: u16) -> Self {
        let key = self.every_port();
        Self { word: key.word | (first as u64) << 32 | (RANGE as u64) << 48, rest: key.rest }
    }

    /// The key of what is known of the address itself, see [`AddressEntry`].
    #[inline(always)]
    #[must_use]
    pub const fn of_address(&self) -> Self {
        let key = self.every_port();
        Self { word: key.word | (ADDRESS as u64) << 48, rest: key.rest }
    }

    /// The key with another port, and a protocol that may be marked as one of a range.
    #[inline(always)]
    #[must_use]
    pub const fn at(&self, port: u16, protocol: u8) -> Self {
        let kept = self.word & !(0xff_ffff << 32);
        Self { word: kept | (port as u64) << 32 | (protocol as u64) << 48, rest: self.rest }
    }

    /// The key with a prefix in place of the address.
    #[inline(always)]
    #[must_use]
    pub const fn within(&self, prefix: &Prefix) -> Self {
        let [first, rest @ ..] = prefix.words;
        let kept = self.word & (0xff_ffff << 32);
        Self { word: kept | first as u64 | (prefix.version as u64) << 56, rest }
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

    /// [`TCP`] or [`UDP`]; of an address, [`ICMP`] and [`ICMPV6`] too.
    #[inline(always)]
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        (self.word >> 48) as u8 & !(RANGE | ADDRESS)
    }

    /// The protocol with the mark of a range.
    #[inline(always)]
    #[must_use]
    pub const fn marked_protocol(&self) -> u8 {
        (self.word >> 48) as u8
    }

    /// Whether the key is that of a range of ports.
    #[must_use]
    pub const fn is_range(&self) -> bool {
        (self.word >> 48) as u8 & RANGE != 0
    }

    /// Whether the key is that of an address, see [`ServiceKey::of_address`].
    #[must_use]
    pub const fn is_address(&self) -> bool {
        (self.word >> 48) as u8 & ADDRESS != 0
    }

    /// Length of the prefix that has the service; `None` for a single address.
    #[must_use]
    pub const fn prefix_length(&self) -> Option<u8> {
        match self.word >> 56 {
            version @ IPV4_PREFIX..IPV6_PREFIX => Some((version - IPV4_PREFIX) as u8),
            version @ IPV6_PREFIX.. => Some((version - IPV6_PREFIX) as u8),
            _ => None,
        }
    }

    /// The words of the address as [`Address`] has them.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        let [a, b, c] = self.rest;
        [self.word as u32, a, b, c]
    }

    /// Whether the address is an IPv6 one.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        let version = self.word >> 56;
        version == IPV6 || version >= IPV6_PREFIX
    }
}

/// What a key's highest byte says: an address of a family, or a prefix of one with its length.
const IPV4: u64 = 4;
const IPV6: u64 = 6;
const IPV4_PREFIX: u64 = 16;
const IPV6_PREFIX: u64 = 64;

/// Marks of a key's protocol.
const RANGE: u8 = 0x80;
const ADDRESS: u8 = 0x40;

/// An address as a key of `PREFIXES`, see [`Address::mapped`].
///
/// The zero before it aligns the words behind the map's own 32-bit prefix length; the verifier
/// refuses others on the stack.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedAddress {
    zero: u32,
    address: [u64; 2],
}

impl MappedAddress {
    /// Length of a whole key in bits.
    pub const BITS: u32 = 160;
    /// Bits before those of an IPv6 address.
    pub const IPV6_BITS: u32 = 32;
    /// Bits before those of an IPv4 address.
    pub const IPV4_BITS: u32 = 128;

    /// The key of an address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: &Address) -> Self {
        Self::from_mapped(address.mapped())
    }

    /// The key of an address in the form of [`Address::mapped`].
    #[inline(always)]
    #[must_use]
    pub const fn from_mapped(address: [u64; 2]) -> Self {
        Self { zero: 0, address }
    }

    /// The address in the form of [`Address::mapped`].
    #[must_use]
    pub const fn mapped(&self) -> [u64; 2] {
        self.address
    }
}

/// One value of `PREFIXES`: a prefix that has services, found by its longest match.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its address, in words as in [`Address`].
    pub words: [u32; 4],
    /// The highest byte of keys within it.
    version: u32,
}

impl Prefix {
    /// Whether it is a prefix of IPv6 addresses.
    #[inline(always)]
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        self.version >= IPV6_PREFIX as u32
    }

    /// A prefix from its address, whose bits beyond `length` are zero.
    #[must_use]
    pub const fn new(address: Address, length: u8) -> Self {
        let version = if address.is_ipv6() { IPV6_PREFIX } else { IPV4_PREFIX };
        Self { words: address.words(), version: version as u32 + length as u32 }
    }
}

/// Most ranges of ports on one address and protocol.
pub const SERVICE_RANGES: usize = 16;

/// What is known of an address and a protocol beyond its services, in the place of a table: which
/// ranges of ports have services, and where packets go that have no port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressEntry(u64);

impl AddressEntry {
    const PRESENT: u64 = 1 << 63;
    const ANSWERS: u64 = 1 << 62;
    const HAS_DEFAULT: u64 = 1 << 61;

    /// An address that is nothing but known to have services.
    pub const KNOWN: Self = Self(Self::PRESENT);

    /// With ranges of ports, which line `line` of `RANGES` lists; line 0 is none.
    #[must_use]
    pub const fn with_ranges(self, line: u32) -> Self {
        Self(self.0 | line as u64 & 0xff_ffff)
    }

    /// With a service for what has no port: fragments that cannot be matched, or echo requests.
    /// `protocol` may be marked as one of a range.
    #[must_use]
    pub const fn with_default(self, port: u16, protocol: u8) -> Self {
        Self(self.0 | Self::HAS_DEFAULT | (port as u64) << 24 | (protocol as u64) << 40)
    }

    /// With answers to echo requests.
    #[must_use]
    pub const fn answering(self) -> Self {
        Self(self.0 | Self::ANSWERS)
    }

    /// From the word in the place of a table.
    #[inline(always)]
    #[must_use]
    pub const fn from_table(table: Table) -> Self {
        Self(table.0)
    }

    /// As the word in the place of a table.
    #[must_use]
    pub const fn table(self) -> Table {
        Table(self.0)
    }

    /// Whether the address has services of the protocol.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Line of `RANGES`; 0 is none.
    #[inline(always)]
    #[must_use]
    pub const fn ranges(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    /// Port and marked protocol of the service for what has no port.
    #[inline(always)]
    #[must_use]
    pub const fn default_service(self) -> Option<(u16, u8)> {
        if self.0 & Self::HAS_DEFAULT == 0 {
            return None;
        }
        Some(((self.0 >> 24) as u16, (self.0 >> 40) as u8))
    }

    /// Whether echo requests are answered.
    #[inline(always)]
    #[must_use]
    pub const fn answers(self) -> bool {
        self.0 & Self::ANSWERS != 0
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
/// The word also names the service's policy, so that both change at once. Zero is "no table": the
/// place holds no service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table(u64);

impl Table {
    const PRESENT: u64 = 1 << 63;
    const EMPTY: u64 = 1 << 62;

    /// No table.
    pub const NONE: Self = Self(0);

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

    /// The same table under a policy, an index of `POLICIES` below 2^20.
    #[must_use]
    pub const fn under(self, policy: u32) -> Self {
        Self(self.0 & !(0xf_ffff << 40) | (policy as u64 & 0xf_ffff) << 40)
    }

    /// Index of the service's policy; 0 asks for nothing.
    #[inline(always)]
    #[must_use]
    pub const fn policy(self) -> u32 {
        (self.0 >> 40) as u32 & 0xf_ffff
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
        // Wrapping: a table that is wrong must not stop the host where the kernel goes on.
        self.base().wrapping_add(flow as u32 & ((1 << self.bits()) - 1))
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
