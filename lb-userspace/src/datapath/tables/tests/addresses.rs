//! What packets know of addresses: ranges, prefixes, what has no port.

use lb_common::{
    ServiceKey, find,
    service::{AddressEntry, ICMP, TCP, UDP},
    settings::feature,
};

use super::*;
use crate::datapath::{desired::DesiredPing, policies::DesiredPolicy};

fn range(number: u8, first: u16, last_port: u16) -> DesiredService {
    let key = key(number).range_from(first);
    DesiredService { key, last_port, ..service(number, &[(11, 100, STAY)]) }
}

fn prefix(length: u8, port: u16) -> DesiredService {
    let network = IpAddr::from(Ipv4Addr::new(10, 200, 0, 0));
    let key = ServiceKey::of_prefix(network.into(), length, port, TCP);
    DesiredService { key, ..service(1, &[(11, 100, STAY)]) }
}

/// The service that packets to an address and port find.
fn found(tables: &Tables, last: u8, port: u16) -> Option<u32> {
    let address = IpAddr::from([10, 200, 0, last]);
    let key = ServiceKey::new(address.into(), port, TCP);
    let found = find::any(&tables.arrays, &tables.arrays.settings[0], &key);
    found.table.is_present().then_some(found.service)
}

fn entry(tables: &Tables, protocol: u8) -> AddressEntry {
    let address = IpAddr::from([10, 200, 0, 1]);
    let key = ServiceKey::new(address.into(), 0, protocol);
    find::address(&tables.arrays, &tables.arrays.settings[0], &key)
}

fn features(tables: &Tables) -> u32 {
    tables.arrays.settings[0].features
}

#[test]
fn a_range_grows_by_a_new_line_and_the_old_one_waits_for_a_grace_period() {
    let mut tables = tables();
    commit(&mut tables, &[range(1, 1000, 1999), range(1, 3000, 3999)]);
    let id = tables.service_id(&range(1, 1000, 1999).key);
    assert_eq!([1000, 1999, 2000].map(|port| found(&tables, 1, port)), [id, id, None]);
    let line = entry(&tables, TCP).ranges();
    let free = tables.free_lines.len();
    assert!(tables.commit(&[range(1, 1000, 2999), range(1, 3000, 3999)], route).refused.is_none());
    assert_eq!([1000, 2000, 2999].map(|port| found(&tables, 1, port)), [id; 3]);
    assert_ne!(entry(&tables, TCP).ranges(), line);
    assert!(tables.arrays.ranges[line as usize].iter().eq([(1000, 1999), (3000, 3999)]));
    assert_eq!(tables.free_lines.len(), free - 1);
    let epoch = tables.begin_grace().expect("something waits");
    tables.reclaim(epoch);
    assert_eq!(tables.free_lines.len(), free);
    assert_eq!(features(&tables), feature::RANGES);
    commit(&mut tables, &[]);
    assert_eq!((features(&tables), tables.free_lines.len()), (0, free + 1));
    assert!(!entry(&tables, TCP).is_known());
}

#[test]
fn a_restart_keeps_lines_and_entries() {
    let mut tables = tables();
    let desired = [range(1, 1000, 1999), prefix(24, 443), prefix(16, 0)];
    commit(&mut tables, &desired);
    let before = (entry(&tables, TCP), features(&tables), tables.known_addresses.clone());
    let Tables { arrays, .. } = tables;
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("its own");
    assert_eq!(commit(&mut tables, &desired), Committed::default());
    assert_eq!(before, (entry(&tables, TCP), features(&tables), tables.known_addresses.clone()));
    assert_eq!(tables.arrays.prefixes.entries().len(), 2);
    commit(&mut tables, &desired[..2]);
    assert_eq!(tables.arrays.prefixes.entries().len(), 1);
}

#[test]
fn lines_that_two_addresses_name_are_refused() {
    let mut tables = tables();
    commit(&mut tables, &[range(1, 1000, 1999), range(2, 1000, 1999)]);
    let entry = entry(&tables, TCP);
    for place in tables.known_addresses.values() {
        tables.arrays.services[*place as usize].publish(entry.table());
    }
    let Tables { arrays, .. } = tables;
    assert!(Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).is_none());
}

#[test]
fn the_longest_prefix_has_a_packet_even_if_it_has_no_service_for_the_port() {
    let mut tables = tables();
    commit(&mut tables, &[prefix(16, 443), prefix(24, 80), service(9, &[])]);
    let wide = tables.service_id(&prefix(16, 443).key);
    let narrow = tables.service_id(&prefix(24, 80).key);
    assert_eq!([80, 443].map(|port| found(&tables, 1, port)), [narrow, None]);
    assert_eq!(found(&tables, 9, 80), tables.service_id(&key(9)), "the address itself first");
    assert_eq!(features(&tables), feature::PREFIXES);
    commit(&mut tables, &[prefix(16, 443)]);
    assert_eq!([80, 443].map(|port| found(&tables, 1, port)), [None, wide]);
}

#[test]
fn pings_and_fragments_have_the_service_that_asks_for_them() {
    let mut tables = tables();
    let by_address = DesiredService {
        policy: DesiredPolicy { by_address: true, ..DesiredPolicy::default() },
        ..range(1, 1000, 1999)
    };
    let udp = DesiredService {
        key: ServiceKey::new(IpAddr::from([10, 200, 0, 1]).into(), 53, UDP),
        ping: Some(DesiredPing::Backend),
        ..service(1, &[(11, 100, STAY)])
    };
    commit(&mut tables, &[by_address.clone(), udp.clone()]);
    let range = Some((1000, by_address.key.marked_protocol()));
    assert_eq!(entry(&tables, TCP).default_service(), range);
    assert_eq!(entry(&tables, UDP), AddressEntry::KNOWN);
    assert_eq!(entry(&tables, ICMP).default_service(), Some((53, UDP)));
    let answering = DesiredService { ping: Some(DesiredPing::Answer), ..udp.clone() };
    commit(&mut tables, &[answering]);
    assert!(entry(&tables, ICMP).answers() && !entry(&tables, TCP).is_known());
    commit(&mut tables, &[DesiredService { ping: None, ..udp }]);
    assert!(!entry(&tables, ICMP).is_known());
}

#[test]
fn as_many_addresses_fit_as_services() {
    let mut tables = tables();
    let desired: Vec<DesiredService> = (1..=8)
        .map(|number| DesiredService {
            ping: Some(DesiredPing::Answer),
            ..range(number, 1000, 1999)
        })
        .collect();
    for _ in 0..3 {
        commit(&mut tables, &desired);
        assert_eq!(tables.known_addresses.len(), 16);
        assert!((1..=8).all(|number| found(&tables, number, 1500).is_some()));
        commit(&mut tables, &[]);
        assert_eq!(tables.known_addresses.len(), 0);
    }
}

/// What comes to a port while another configuration of its services is being entered.
fn found_during(before: &[DesiredService], after: &[DesiredService], last: u8, port: u16) -> bool {
    let mut tables = tables();
    commit(&mut tables, before);
    assert!(found(&tables, last, port).is_some());
    let seen = std::cell::Cell::new(false);
    let arrays = std::ptr::from_ref(&tables.arrays);
    let committed = tables.commit(after, |forward, address| {
        // SAFETY: the arrays stay where they are, and are read as packets do meanwhile.
        let arrays = unsafe { &*arrays };
        let address_key = IpAddr::from([10, 200, 0, last]);
        let key = ServiceKey::new(address_key.into(), port, TCP);
        seen.set(find::any(arrays, &arrays.settings[0], &key).table.is_present());
        route(forward, address)
    });
    assert_eq!(committed.refused, None);
    assert!(found(&tables, last, port).is_some());
    seen.get()
}

#[test]
fn packets_find_the_former_service_until_they_find_the_one_in_its_place() {
    let narrow = [range(1, 1000, 1999)];
    let wide = [range(1, 500, 1999)];
    assert!(found_during(&narrow, &wide, 1, 1500));
    assert!(found_during(&wide, &narrow, 1, 1500));
    assert!(found_during(&[prefix(25, 80)], &[prefix(24, 80)], 1, 80));
    assert!(found_during(&[prefix(24, 80)], &[service(1, &[(12, 100, STAY)])], 1, 80));
}

#[test]
fn what_is_not_desired_makes_room_for_what_is() {
    let mut tables = tables();
    let eight: Vec<DesiredService> =
        (1..=8).map(|number| service(number, &[(11, 100, STAY), (12, 100, STAY)])).collect();
    commit(&mut tables, &eight);
    let others: Vec<DesiredService> =
        (11..=18).map(|number| service(number, &[(11, 100, STAY), (12, 100, STAY)])).collect();
    assert_eq!(commit(&mut tables, &others).tables.len(), 8);
    assert_eq!((tables.services.len(), tables.backends.len()), (8, 16));
}
