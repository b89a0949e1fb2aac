//! Which of several services a packet is for.

use super::*;
use crate::{
    ranges::RangeLine,
    service::{AddressEntry, ServiceKey},
    testing::{add_address, words},
};

const ALL: u32 = feature::EVERY_PORT | feature::RANGES | feature::PREFIXES;
const IPV6_VIP: &str = "fd00:200::1";

/// What has a service, beginning with what comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    Port,
    Range,
    EveryPort,
    PrefixPort,
    PrefixRange,
    PrefixEveryPort,
    WiderPrefix,
}

const ORDER: [Holder; 7] = [
    Holder::Port,
    Holder::Range,
    Holder::EveryPort,
    Holder::PrefixPort,
    Holder::PrefixRange,
    Holder::PrefixEveryPort,
    Holder::WiderPrefix,
];

/// Tables in which these have services; the backend is the holder's place in the order, plus one.
fn held_by(vip: &str, holders: &[Holder]) -> HostTables {
    let mut tables = tables();
    tables.settings.features = ALL;
    tables.slots = (0..8).map(|_| Default::default()).collect();
    tables.ranges = vec![RangeLine::default(), RangeLine::new(&[(70, 90)])];
    let address = words(vip);
    let (narrow, wide) = prefixes(vip);
    let entry = AddressEntry::KNOWN.with_ranges(1);
    for (index, holder) in ORDER.iter().enumerate() {
        if !holders.contains(holder) {
            continue;
        }
        let every = ServiceKey::new(address, 0, TCP);
        let within = |(address, length)| ServiceKey::of_prefix(address, length, 80, TCP);
        let key = match holder {
            Holder::Port => ServiceKey::new(address, 80, TCP),
            Holder::Range => every.range_from(70),
            Holder::EveryPort => every,
            Holder::PrefixPort => within(narrow),
            Holder::PrefixRange => within(narrow).range_from(70),
            Holder::PrefixEveryPort => within(narrow).every_port(),
            Holder::WiderPrefix => within(wide),
        };
        match holder {
            Holder::Range => put(&mut tables, every.of_address(), 0, entry.table()),
            Holder::PrefixRange => put(&mut tables, within(narrow).of_address(), 0, entry.table()),
            _ => {}
        }
        let prefix = match holder {
            Holder::Port | Holder::Range | Holder::EveryPort => None,
            Holder::WiderPrefix => Some(wide),
            _ => Some(narrow),
        };
        tables.prefixes.extend(prefix);
        let id = index as u32;
        put(&mut tables, key, id, Table::new(id * 16, 4));
        let backend = Slot::settled(index as u16 + 1);
        (0..16).for_each(|slot| tables.slots[index].set(slot, backend));
    }
    tables
}

fn put(tables: &mut HostTables, key: ServiceKey, id: u32, table: Table) {
    let places = testing::places(tables, &key);
    let is_free = |place: &&u32| !tables.services[**place as usize].table().is_present();
    let place = *places.iter().find(is_free).expect("a free place") as usize;
    tables.services[place] = crate::Service::unpublished(key, id);
    tables.services[place].publish(table);
}

type Length = (crate::Address, u8);

fn prefixes(vip: &str) -> (Length, Length) {
    if vip.contains(':') {
        ((words("fd00:200::"), 64), (words("fd00::"), 16))
    } else {
        ((words("10.200.0.0"), 24), (words("10.0.0.0"), 8))
    }
}

/// Every subset of holders: the first of the order has the packet.
#[test]
fn the_most_specific_service_has_the_packet() {
    for (client, vip) in [(CLIENT, VIP), ("2001:db8::7", IPV6_VIP)] {
        let bytes = frame(client, vip, TCP, &testing::tcp(1, 80, SYN));
        for subset in 0_u32..1 << ORDER.len() {
            let held = |index: &usize| subset & 1 << index != 0;
            let holders: Vec<Holder> =
                (0..ORDER.len()).filter(held).map(|index| ORDER[index]).collect();
            let tables = held_by(vip, &holders);
            match holders.first() {
                None => assert_eq!(run(&tables, &bytes), Verdict::NotService),
                Some(first) => {
                    let backend = backend_of(&tables, &bytes);
                    assert_eq!(ORDER[usize::from(backend) - 1], *first, "{vip}, {holders:?}");
                }
            }
        }
    }
}

#[test]
fn a_range_has_its_first_and_last_port() {
    let tables = held_by(VIP, &[Holder::Range]);
    let verdict = |port| run(&tables, &frame(CLIENT, VIP, TCP, &testing::tcp(1, port, SYN)));
    for (port, expected) in [
        (69, Verdict::NotService),
        (70, Verdict::Transmitted),
        (90, Verdict::Transmitted),
        (91, Verdict::NotService),
    ] {
        assert_eq!(verdict(port), expected, "{port}");
    }
}

#[test]
fn what_is_not_in_use_is_not_looked_up() {
    let bytes = frame(CLIENT, VIP, TCP, &testing::tcp(1, 80, SYN));
    for (holder, needed) in [
        (Holder::Range, feature::RANGES),
        (Holder::EveryPort, feature::EVERY_PORT),
        (Holder::PrefixPort, feature::PREFIXES),
    ] {
        let mut tables = held_by(VIP, &[holder]);
        assert_eq!(run(&tables, &bytes), Verdict::Transmitted);
        tables.settings.features = ALL & !needed;
        assert_eq!(run(&tables, &bytes), Verdict::NotService, "{holder:?}");
    }
}

/// Two addresses of a prefix, and two ports of a range, are two flows.
#[test]
fn flows_of_one_service_are_told_apart_by_what_they_address() {
    let tables = held_by(VIP, &[Holder::PrefixPort, Holder::PrefixRange]);
    for line in 0..8 {
        for slot in 0..16 {
            tables.slots[line].set(slot, Slot::settled(1 + (slot % 7) as u16));
        }
    }
    let mut reached = std::collections::BTreeSet::new();
    for host in 1..100 {
        let bytes = frame(CLIENT, &format!("10.200.0.{host}"), TCP, &testing::tcp(1, 80, ACK));
        reached.insert(backend_of(&tables, &bytes));
    }
    assert_eq!(reached.len(), 7, "{reached:?}");
}

#[test]
fn an_entry_of_an_address_is_no_service() {
    let mut tables = tables();
    add_address(&mut tables, key(VIP, 80, TCP), AddressEntry::KNOWN);
    let bytes = frame(CLIENT, VIP, TCP, &testing::tcp(1, 0, SYN));
    tables.settings.features = ALL;
    assert_eq!(run(&tables, &bytes), Verdict::NotService);
}

/// Tables of prefixes have IPv4 addresses in a form that an IPv6 packet can carry.
#[test]
fn a_prefix_is_of_one_family() {
    let tables = held_by(VIP, &[Holder::PrefixPort]);
    let segment = testing::tcp(1, 80, SYN);
    assert_eq!(run(&tables, &frame(CLIENT, VIP, TCP, &segment)), Verdict::Transmitted);
    let mapped = frame("2001:db8::7", &format!("::ffff:{VIP}"), TCP, &segment);
    assert_eq!(run(&tables, &mapped), Verdict::NotService);
}
