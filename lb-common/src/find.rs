//! Which service a packet is for.
//!
//! In this order: the exact port of the address, a range of ports, every port; then the same of
//! the longest prefix that holds the address.

use crate::{
    address::Address,
    hash,
    service::{AddressEntry, ServiceKey, Table},
    settings::{Settings, feature},
    tables::Tables,
};

/// A service and its table, which is not present if there is no such service.
///
/// Not an `Option`: LLVM keeps what an absent value would hold in registers that it never sets,
/// and the verifier refuses to see those copied.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Identifier of the service.
    pub service: u32,
    /// The table that packets use now.
    pub table: Table,
    /// Hash of what the packet addresses.
    pub hash: u64,
}

impl Found {
    /// No service.
    pub const NONE: Self = Self { service: 0, table: Table::NONE, hash: 0 };
}

/// The service of a packet that is found without ranges and prefixes; there is none where only
/// [`any`] can tell.
#[inline(always)]
pub fn common<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> Found {
    let found = exact(tables, settings, key);
    if found.table.is_present() || settings.features != feature::EVERY_PORT {
        return found;
    }
    // The packet's own port stays in the hash: flows to two ports are two flows.
    Found { hash: found.hash, ..exact(tables, settings, &key.every_port()) }
}

/// The service of a packet.
#[inline(always)]
pub fn any<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> Found {
    let hash = key.hash(&settings.hash_key);
    let found = at_address(tables, settings, key);
    if found.table.is_present() || settings.features & feature::PREFIXES == 0 {
        return Found { hash, ..found };
    }
    match within_prefix(tables, key) {
        Some(key) => Found { hash, ..at_address(tables, settings, &key) },
        None => found,
    }
}

/// What is known of the address of a key, or of the longest prefix that holds it.
#[inline(always)]
pub fn address<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> AddressEntry {
    let found = exact(tables, settings, &key.of_address());
    if found.table.is_present() || settings.features & feature::PREFIXES == 0 {
        return AddressEntry::from_table(found.table);
    }
    match within_prefix(tables, key) {
        Some(key) => AddressEntry::from_table(exact(tables, settings, &key.of_address()).table),
        None => AddressEntry::from_table(found.table),
    }
}

#[inline(always)]
fn at_address<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> Found {
    let mut found = exact(tables, settings, key);
    if !found.table.is_present() && settings.features & feature::RANGES != 0 {
        let entry = AddressEntry::from_table(exact(tables, settings, &key.of_address()).table);
        let line = tables.range_line(entry.ranges());
        if let Some(first) = line.and_then(|line| line.find(key.port())) {
            found = exact(tables, settings, &key.range_from(first));
        }
    }
    if !found.table.is_present() && settings.features & feature::EVERY_PORT != 0 {
        found = exact(tables, settings, &key.every_port());
    }
    found
}

/// The key with the longest prefix that holds its address.
#[inline(always)]
fn within_prefix<T: Tables>(tables: &T, key: &ServiceKey) -> Option<ServiceKey> {
    let address = Address::from_words(key.words(), key.is_ipv6());
    // The table knows addresses in one form, ::ffff:10.0.0.1 for 10.0.0.1: to a packet the family
    // matters.
    let prefix = tables.prefix(&address).filter(|prefix| prefix.is_ipv6() == key.is_ipv6())?;
    Some(key.within(&prefix))
}

#[inline(always)]
fn exact<T: Tables>(tables: &T, settings: &Settings, key: &ServiceKey) -> Found {
    let hash = key.hash(&settings.hash_key);
    let [first, second] = hash::places(hash, settings.service_mask);
    let found = at(tables, first, key, hash);
    if found.table.is_present() { found } else { at(tables, second, key, hash) }
}

#[inline(always)]
fn at<T: Tables>(tables: &T, place: u32, key: &ServiceKey, hash: u64) -> Found {
    match tables.service(place) {
        Some(service) if service.matches(key) => {
            Found { service: service.id, table: service.table(), hash }
        }
        _ => Found { service: 0, table: Table::NONE, hash },
    }
}
