//! The maps with keys as the kernel has them.

use aya::maps::{
    HashMap, Map, MapData, MapError,
    lpm_trie::{Key, LpmTrie},
};
use lb_common::{
    policy::{RulePrefix, ServerKey},
    service::{MappedAddress, Prefix},
};

use super::{KernelMap, MappedPrefix, SourceRule};

/// A value as aya moves it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Pod<T>(T);

// SAFETY: 20 bytes without padding.
unsafe impl aya::Pod for Pod<RulePrefix> {}
// SAFETY: 20 bytes without padding.
unsafe impl aya::Pod for Pod<MappedAddress> {}
// SAFETY: 20 bytes without padding.
unsafe impl aya::Pod for Pod<Prefix> {}
// SAFETY: 16 bytes without padding.
unsafe impl aya::Pod for Pod<ServerKey> {}

/// `SOURCE_RULES` in the kernel.
#[derive(Debug)]
pub(in crate::datapath) struct RulesMap(LpmTrie<MapData, Pod<RulePrefix>, u32>);

impl RulesMap {
    pub(in crate::datapath) fn new(map: MapData) -> Result<Self, MapError> {
        LpmTrie::try_from(Map::LpmTrie(map)).map(Self)
    }

    fn key(rule: &SourceRule) -> Key<Pod<RulePrefix>> {
        let length = RulePrefix::POLICY_BITS + u32::from(rule.prefix.length);
        let data = RulePrefix { policy: rule.policy, address: rule.prefix.address };
        Key::new(length, Pod(data))
    }
}

impl KernelMap<SourceRule, u32> for RulesMap {
    fn insert(&mut self, key: &SourceRule, value: &u32) -> Result<(), MapError> {
        self.0.insert(&Self::key(key), value, 0)
    }

    fn remove(&mut self, key: &SourceRule) -> Result<(), MapError> {
        self.0.remove(&Self::key(key))
    }

    fn read(&self) -> Result<Vec<(SourceRule, u32)>, MapError> {
        let rule = |(key, value): (Key<Pod<RulePrefix>>, u32)| {
            let length = key.prefix_len().saturating_sub(RulePrefix::POLICY_BITS) as u8;
            let Pod(RulePrefix { policy, address }) = key.data();
            (SourceRule { policy, prefix: MappedPrefix { length, address } }, value)
        };
        self.0.iter().map(|entry| entry.map(rule)).collect()
    }
}

/// `PREFIXES` in the kernel.
#[derive(Debug)]
pub(in crate::datapath) struct PrefixesMap(LpmTrie<MapData, Pod<MappedAddress>, Pod<Prefix>>);

impl PrefixesMap {
    pub(in crate::datapath) fn new(map: MapData) -> Result<Self, MapError> {
        LpmTrie::try_from(Map::LpmTrie(map)).map(Self)
    }

    fn key(prefix: &MappedPrefix) -> Key<Pod<MappedAddress>> {
        let length = MappedAddress::IPV6_BITS + u32::from(prefix.length);
        Key::new(length, Pod(MappedAddress::from_mapped(prefix.address)))
    }
}

impl KernelMap<MappedPrefix, Prefix> for PrefixesMap {
    fn insert(&mut self, key: &MappedPrefix, value: &Prefix) -> Result<(), MapError> {
        self.0.insert(&Self::key(key), Pod(*value), 0)
    }

    fn remove(&mut self, key: &MappedPrefix) -> Result<(), MapError> {
        self.0.remove(&Self::key(key))
    }

    fn read(&self) -> Result<Vec<(MappedPrefix, Prefix)>, MapError> {
        let prefix = |(key, Pod(value)): (Key<Pod<MappedAddress>>, Pod<Prefix>)| {
            let length = key.prefix_len().saturating_sub(MappedAddress::IPV6_BITS) as u8;
            let Pod(data) = key.data();
            (MappedPrefix { length, address: data.mapped() }, value)
        };
        self.0.iter().map(|entry| entry.map(prefix)).collect()
    }
}

/// `SERVERS` in the kernel.
#[derive(Debug)]
pub(in crate::datapath) struct ServersMap(HashMap<MapData, Pod<ServerKey>, u32>);

impl ServersMap {
    pub(in crate::datapath) fn new(map: MapData) -> Result<Self, MapError> {
        HashMap::try_from(Map::HashMap(map)).map(Self)
    }
}

impl KernelMap<ServerKey, u32> for ServersMap {
    fn insert(&mut self, key: &ServerKey, value: &u32) -> Result<(), MapError> {
        self.0.insert(Pod(*key), value, 0)
    }

    fn remove(&mut self, key: &ServerKey) -> Result<(), MapError> {
        self.0.remove(&Pod(*key))
    }

    fn read(&self) -> Result<Vec<(ServerKey, u32)>, MapError> {
        let server = |(Pod(key), value): (Pod<ServerKey>, u32)| (key, value);
        self.0.iter().map(|entry| entry.map(server)).collect()
    }
}
