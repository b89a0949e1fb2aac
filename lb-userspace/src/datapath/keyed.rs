//! Maps that packets find entries in by key, with a copy in our memory.
//!
//! The kernel has no memory of theirs to share: each change is a call, and questions are answered
//! from the copy.

mod maps;

use std::{collections::BTreeMap, fmt::Debug};

use aya::maps::MapError;
use lb_common::{Address, policy::ServerKey, service::Prefix};

pub(super) use maps::{PrefixesMap, RulesMap, ServersMap};

/// A map with a copy of its entries; without a map in the kernel it is for tests and questions.
#[derive(Debug)]
pub struct Keyed<K, V> {
    copy: BTreeMap<K, V>,
    most: usize,
    map: Option<Box<dyn KernelMap<K, V>>>,
}

/// Why an entry is not added.
#[derive(Debug, thiserror::Error)]
pub enum NotInserted {
    /// There are as many as fit.
    #[error("it is full")]
    Full,
    /// The kernel.
    #[error(transparent)]
    Refused(#[from] MapError),
}

/// What is asked of a map in the kernel.
pub trait KernelMap<K, V>: Debug + Send + Sync {
    /// Adds or replaces an entry.
    fn insert(&mut self, key: &K, value: &V) -> Result<(), MapError>;
    /// Removes an entry.
    fn remove(&mut self, key: &K) -> Result<(), MapError>;
    /// All entries.
    fn read(&self) -> Result<Vec<(K, V)>, MapError>;
}

impl<K: Ord + Copy, V: PartialEq + Copy> Keyed<K, V> {
    /// A map of at most `most` entries that no kernel reads.
    #[must_use]
    pub fn anonymous(most: u32) -> Self {
        Self { copy: BTreeMap::new(), most: most as usize, map: None }
    }

    /// A map in the kernel with what is in it.
    pub fn of_map(map: impl KernelMap<K, V> + 'static, most: u32) -> Result<Self, MapError> {
        let copy = map.read()?.into_iter().collect();
        Ok(Self { copy, most: most as usize, map: Some(Box::new(map)) })
    }

    /// The entries in the order of their keys.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<K, V> {
        &self.copy
    }

    /// Room for further entries.
    #[must_use]
    pub fn room(&self) -> usize {
        self.most.saturating_sub(self.copy.len())
    }

    /// Adds or replaces an entry.
    pub fn insert(&mut self, key: K, value: V) -> Result<(), NotInserted> {
        if self.copy.get(&key) == Some(&value) {
            return Ok(());
        }
        if !self.copy.contains_key(&key) && self.room() == 0 {
            return Err(NotInserted::Full);
        }
        if let Some(map) = &mut self.map {
            map.insert(&key, &value)?;
        }
        self.copy.insert(key, value);
        Ok(())
    }

    /// Keeps those entries of which `keep` is true. One that the kernel refuses to remove stays in
    /// the copy too.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let gone: Vec<K> = self.copy.keys().filter(|key| !keep(key)).copied().collect();
        for key in gone {
            let removed = self.map.as_mut().map_or(Ok(()), |map| map.remove(&key));
            match removed {
                Ok(()) | Err(MapError::KeyNotFound) => {
                    self.copy.remove(&key);
                }
                Err(error) => tracing::warn!(%error, "an entry that nobody needs stays"),
            }
        }
    }
}

/// A prefix as tries have it: of addresses in their mapped form, see [`Address::mapped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MappedPrefix {
    /// How many bits of the address count, 0 to 128; before the address, so that the longest of
    /// some prefixes is the last.
    pub length: u8,
    /// The address, whose bits beyond the length are zero.
    pub address: [u64; 2],
}

impl MappedPrefix {
    /// The first `length` bits of an address, whose further bits are zero.
    #[must_use]
    pub const fn new(address: &Address, length: u8) -> Self {
        // Behind the prefix under which IPv4 addresses are mapped.
        let before = if address.is_ipv6() { 0 } else { 96 };
        Self { length: length + before, address: address.mapped() }
    }

    /// Whether an address is within.
    #[must_use]
    pub fn holds(&self, address: &Address) -> bool {
        let number = |[high, low]: [u64; 2]| {
            u128::from(u64::from_be_bytes(high.to_ne_bytes())) << 64
                | u128::from(u64::from_be_bytes(low.to_ne_bytes()))
        };
        let differing = number(self.address) ^ number(address.mapped());
        u32::from(self.length) <= differing.leading_zeros()
    }
}

/// A policy's rule for sources, as a key of `SOURCE_RULES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceRule {
    /// Index of the policy.
    pub policy: u32,
    /// Whom it concerns.
    pub prefix: MappedPrefix,
}

impl SourceRule {
    /// The keys of a policy's rules, from the least to the greatest.
    #[must_use]
    pub const fn all_of(policy: u32) -> std::ops::RangeInclusive<Self> {
        let first = MappedPrefix { length: 0, address: [0; 2] };
        let last = MappedPrefix { length: u8::MAX, address: [u64::MAX; 2] };
        Self { policy, prefix: first }..=Self { policy, prefix: last }
    }
}

/// Which sources policies allow (1) and deny (0).
pub type SourceRules = Keyed<SourceRule, u32>;
/// Prefixes of addresses that have services.
pub type Prefixes = Keyed<MappedPrefix, Prefix>;
/// Backends by server identifier.
pub type Servers = Keyed<ServerKey, u32>;
