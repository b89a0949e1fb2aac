//! What packets must know of an address and a protocol beyond its services: where ranges of ports
//! begin and end, and where packets go that have no port.

use std::collections::BTreeMap;

use lb_common::{
    Address, ServiceKey,
    service::{AddressEntry, ICMP, ICMPV6, Prefix},
};

use super::{
    desired::{DesiredPing, DesiredService},
    keyed::MappedPrefix,
};

/// What packets must know of an address and a protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct AddressFacts {
    /// Ranges of ports that have services, first and last port, in ascending order.
    pub(super) ranges: Vec<(u16, u16)>,
    /// Port and marked protocol of the service for what has no port.
    default: Option<(u16, u8)>,
    answers: bool,
}

impl AddressFacts {
    /// The entry that says so, with the ranges in this line.
    pub(super) const fn entry(&self, line: u32) -> AddressEntry {
        let mut entry = AddressEntry::KNOWN.with_ranges(line);
        if let Some((port, protocol)) = self.default {
            entry = entry.with_default(port, protocol);
        }
        if self.answers { entry.answering() } else { entry }
    }
}

/// What packets must know, by the key of an address.
pub(super) fn facts(services: &[DesiredService]) -> BTreeMap<ServiceKey, AddressFacts> {
    let mut facts = BTreeMap::<ServiceKey, AddressFacts>::new();
    for service in services {
        let key = service.key;
        let here = facts.entry(key.at(0, key.protocol()).of_address()).or_default();
        if key.is_range() {
            here.ranges.push((key.port(), service.last_port));
        }
        if service.policy.by_address {
            here.default = Some((key.port(), key.marked_protocol()));
        }
        let Some(ping) = service.ping else { continue };
        let icmp = if key.is_ipv6() { ICMPV6 } else { ICMP };
        let pinged = facts.entry(key.at(0, icmp).of_address()).or_default();
        match ping {
            DesiredPing::Pass => {}
            DesiredPing::Answer => pinged.answers = true,
            DesiredPing::Backend => pinged.default = Some((key.port(), key.marked_protocol())),
        }
    }
    for facts in facts.values_mut() {
        facts.ranges.sort_unstable();
    }
    facts
}

/// The prefixes that have services.
pub(super) fn prefixes(services: &[DesiredService]) -> BTreeMap<MappedPrefix, Prefix> {
    let prefix = |service: &DesiredService| {
        let length = service.key.prefix_length()?;
        let address = Address::from_words(service.key.words(), service.key.is_ipv6());
        Some((MappedPrefix::new(&address, length), Prefix::new(address, length)))
    };
    services.iter().filter_map(prefix).collect()
}
