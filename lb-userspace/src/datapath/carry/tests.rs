use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::{
    Address, Backend, Forward, HashKey, Link, NextHop, Service, ServiceKey, Slot, Table,
    flow::{Phase, Remembered},
    service::{TCP, UDP},
};

use super::{
    former::{Former, FormerService},
    plant::{keeps_numbers, plant},
};
use crate::{
    config::Limits,
    datapath::{
        arrays::{Arrays, Lengths},
        desired::{DesiredMember, DesiredService, Flows, Route},
        tables::Tables,
    },
};

const LIMITS: Limits =
    Limits { services: 8, backends: 16, slots: 1 << 15, flows: 1024, nat_flows: 16, sources: 16 };

fn arrays(limits: &Limits) -> Arrays {
    Arrays::anonymous(&Lengths::from(limits)).expect("memory")
}

fn secret() -> HashKey {
    HashKey::derive(b"test")
}

fn key(number: u8, protocol: u8) -> ServiceKey {
    let vip = IpAddr::from(Ipv4Addr::new(10, 200, 0, number));
    ServiceKey::new(vip.into(), 80, protocol)
}

fn address(number: u8) -> Address {
    IpAddr::from(Ipv4Addr::new(10, 0, 1, number)).into()
}

fn service(number: u8, protocol: u8, weights: &[(u8, u32)]) -> DesiredService {
    let member = |(number, weight): &(u8, u32)| DesiredMember {
        address: address(*number),
        port: 0,
        base_weight: 100,
        weight: *weight,
        flows: Flows::Stay,
    };
    let members = weights.iter().map(member).collect();
    DesiredService::plain(key(number, protocol), Forward::Ipip, members)
}

fn route(_: Forward, _: &Address) -> Option<Route> {
    let link = Link { destination: [2, 3, 5, 7, 11, 13], source: [4, 6, 8, 10, 12, 14] };
    let next = NextHop { interface: 3, mtu: 1500, vlan: 9, link };
    Some(Route { source: address(1), next })
}

/// Tables of two services, in one of which slots have changed hands.
fn tables() -> (Tables, Vec<DesiredService>) {
    let mut tables = Tables::adopt(arrays(&LIMITS), secret(), &LIMITS).expect("empty arrays");
    let before = [service(1, TCP, &[(11, 100), (12, 100)]), service(2, UDP, &[(11, 100)])];
    tables.commit(&before, route).all().expect("room");
    let after = vec![service(1, TCP, &[(11, 100), (12, 100), (13, 100)]), before[1].clone()];
    tables.commit(&after, route).all().expect("room");
    (tables, after)
}

/// What is read of every field is what was written through the accessors.
#[test]
fn what_accessors_write_is_what_a_description_finds() {
    let mut arrays = arrays(&LIMITS);
    arrays.settings.replace(0, lb_common::Settings { hash_key: secret(), ..Default::default() });
    let vip = IpAddr::from(Ipv6Addr::new(1, 2, 3, 4, 5, 6, 7, 8));
    let key = ServiceKey::new(vip.into(), 443, TCP);
    arrays.services.replace(5, Service::unpublished(key, 7));
    arrays.services[5].publish(Table::new(48, 4));
    arrays.slots[3].set(49, Slot { current: 0x0102, previous: 0xfffe });
    let [destination, source] =
        [9, 10].map(|last| IpAddr::from(Ipv6Addr::new(0xfd00, 2, 3, 4, 5, 6, 7, last)).into());
    let entry = Backend::new(7, 0x8001, Forward::Gue, destination, source).at_port(6081);
    let entry = entry.spread(0x0ff0);
    entry.set_next_hop(route(Forward::Gue, &destination).expect("a way").next);
    arrays.backends.replace(2, entry);
    let flow = |hash: u64, phase| {
        let seen = hash as u16 ^ 0x5555;
        (hash | 1 << 63, Remembered { backend: 2, generation: 0x8001, seen, phase })
    };
    let flows: Vec<_> = Phase::ALL
        .into_iter()
        .zip([1, 0x0123_4567_89ab_cdef, 0x7fff_ffff_ffff_ffff, 1 << 40])
        .map(|(phase, hash)| flow(hash, phase))
        .collect();
    for (hash, flow) in &flows {
        assert!(arrays.flows[77].put(*hash, *flow).is_done());
    }

    let former = Former::of_arrays(&arrays);
    assert!(former.is_hashed_with(&secret()) && !former.is_hashed_with(&HashKey::derive(b"x")));
    let services: Vec<_> = former.services().collect();
    assert_eq!(services, [FormerService { key, id: 7, remembers: false, slots: (48, 16) }]);
    assert_eq!(former.slot(49), Slot { current: 0x0102, previous: 0xfffe });
    assert_eq!((former.slot(48), former.slot(u32::MAX)), (Slot::default(), Slot::default()));
    let found = former.backend(2).expect("there").entry(7);
    let facts = |entry: &Backend| {
        let ways = (entry.forward(), entry.next_hop(), entry.outer_checksum());
        let ends = (entry.address(), entry.source_address(), entry.port(), entry.spread_mask());
        (entry.service(), entry.generation(), ways, ends)
    };
    assert_eq!(facts(&found), facts(&arrays.backends[2]));
    assert!([0, 1, 3, u16::MAX].iter().all(|index| former.backend(*index).is_none()));
    let mut read: Vec<_> = former.flows(77).collect();
    read.sort_by_key(|(hash, _)| flows.iter().position(|(other, _)| other == hash));
    assert_eq!(read, flows);
    // What the backend has forgotten is not inherited.
    arrays.backends[2].forget_flows();
    assert_eq!(Former::of_arrays(&arrays).flows(77).count(), 0);
    assert_eq!(former.set_inserts(0), 0);
}

/// The tables of the next daemon are those of the first: it finds nothing to change.
#[test]
fn what_is_planted_is_what_there_was() {
    let (old, desired) = tables();
    let former = Former::of_arrays(old.arrays());
    let larger = Limits { flows: 4096, services: 9, backends: 17, slots: 1 << 16, ..LIMITS };
    for limits in [LIMITS, larger] {
        assert!(keeps_numbers(&former, &limits));
        let mut arrays = arrays(&limits);
        let planted = plant(&former, &mut arrays, secret(), &limits);
        assert_eq!((planted.services, planted.without_slots), (2, 0));
        let mut new = Tables::adopt(arrays, secret(), &limits).expect("sound");
        for service in &desired {
            let (before, after) = (old.slots(&service.key), new.slots(&service.key));
            assert!(before == after && !before.is_empty());
            assert_eq!(old.service_id(&service.key), new.service_id(&service.key));
            for member in &service.members {
                let [one, other] = [&old, &new].map(|tables| {
                    let index = tables.backend_id(&service.key, &member.address).expect("there");
                    let entry = &tables.arrays().backends[usize::from(index)];
                    (index, entry.generation(), entry.next_hop(), entry.source_address())
                });
                assert_eq!(one, other);
            }
        }
        assert!(old.slots(&desired[0].key).iter().any(|slot| slot.is_disputed()));
        let committed = new.commit(&desired, route).all().expect("room");
        assert_eq!(committed.tables, [], "nothing was left to change");
    }
}

#[test]
fn without_room_for_the_numbers_others_are_given_and_without_room_at_all_services_begin_anew() {
    let (old, desired) = tables();
    let former = Former::of_arrays(old.arrays());
    let names = |tables: &Tables, key: &ServiceKey| -> Vec<Option<(Address, Option<Address>)>> {
        let address = |index: u16| tables.arrays().backends[usize::from(index)].address();
        let named = |slot: &Slot| {
            let previous = slot.is_disputed().then(|| address(slot.previous));
            (slot.current != 0).then(|| (address(slot.current), previous))
        };
        tables.slots(key).iter().map(named).collect()
    };
    // Four backends, one of which has a number that is too high now.
    let highest = (1..=16).rev().find(|index| former.backend(*index).is_some()).expect("some");
    let fewer = Limits { backends: u32::from(highest) - 1, ..LIMITS };
    assert!(!keeps_numbers(&former, &fewer));
    let mut few = arrays(&fewer);
    let planted = plant(&former, &mut few, secret(), &fewer);
    assert_eq!(planted.services + planted.without_slots, 2);
    let new = Tables::adopt(few, secret(), &fewer).expect("sound");
    for service in &desired {
        let after = names(&new, &service.key);
        assert!(after.is_empty() || after == names(&old, &service.key));
    }

    let tight = Limits { slots: 8192, ..LIMITS };
    let mut small = arrays(&tight);
    let planted = plant(&former, &mut small, secret(), &tight);
    assert!(planted.without_slots > 0 || planted.services == 2);
    Tables::adopt(small, secret(), &tight).expect("sound");

    // Another secret: nothing that is hashed is of use.
    let other = HashKey::derive(b"other");
    let mut anew = arrays(&LIMITS);
    let planted = plant(&former, &mut anew, other, &LIMITS);
    assert_eq!((planted.services, planted.without_slots), (0, 2));
    let anew = Tables::adopt(anew, other, &LIMITS).expect("sound");
    assert!(desired.iter().all(|service| anew.slots(&service.key).is_empty()));
    assert_eq!(anew.members(&desired[0].key).len(), 3, "translated flows name them");
}
