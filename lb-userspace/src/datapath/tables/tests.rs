mod addresses;
mod anything;
mod entries;
mod flows;
mod movement;
mod policies;
mod schedulers;

use std::net::{IpAddr, Ipv4Addr};

use lb_common::{Forward, Link};

use lb_common::{
    FlowSet, HashKey, NextHop,
    flow::{Phase, Put, Remembered},
};

use super::*;
use crate::{
    config::Limits,
    datapath::{
        arrays::Lengths,
        desired::{CommitError, Committed, DesiredMember, Flows, Route},
    },
};

const LIMITS: Limits =
    Limits { services: 8, backends: 16, slots: 1 << 15, flows: 1024, nat_flows: 16, sources: 16 };
const STAY: Flows = Flows::Stay;

fn tables() -> Tables {
    let arrays = Arrays::anonymous(&Lengths::from(&LIMITS)).expect("memory");
    Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("empty arrays")
}

fn key(number: u8) -> ServiceKey {
    let vip = IpAddr::from(Ipv4Addr::new(10, 200, 0, number));
    ServiceKey::new(vip.into(), 80, lb_common::service::TCP)
}

fn address(number: u8) -> Address {
    IpAddr::from(Ipv4Addr::new(10, 0, 1, number)).into()
}

fn service(number: u8, members: &[(u8, u32, Flows)]) -> DesiredService {
    let member = |(number, weight, flows): &(u8, u32, Flows)| DesiredMember {
        address: address(*number),
        port: 0,
        base_weight: 100,
        weight: *weight,
        flows: *flows,
    };
    let members = members.iter().map(member).collect();
    DesiredService::plain(key(number), Forward::Ipip, members)
}

fn route(_: Forward, _: &Address) -> Option<Route> {
    let link = Link { destination: [2; 6], source: [4; 6] };
    Some(Route { source: address(1), next: NextHop { interface: 3, mtu: 1500, vlan: 0, link } })
}

fn commit(tables: &mut Tables, desired: &[DesiredService]) -> Committed {
    let committed = tables.commit(desired, route).all().expect("room");
    if let Some(epoch) = tables.begin_grace() {
        tables.reclaim(epoch);
    }
    committed
}

#[test]
fn a_service_without_backends_takes_no_slots_and_one_with_takes_its_own() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 0, STAY)])]);
    assert_eq!(tables.slot_usage().0, 0);
    for round in 0..10 {
        let weight = 100 + round % 2;
        commit(&mut tables, &[service(1, &[(11, weight, STAY), (12, 100, STAY)])]);
        assert_eq!(tables.slot_usage().0, 4096, "round {round}");
    }
    commit(&mut tables, &[]);
    assert_eq!(tables.slot_usage().0, 0);
}

#[test]
fn what_is_as_desired_is_left_alone() {
    let mut tables = tables();
    let desired = [service(1, &[(11, 100, STAY), (12, 100, STAY)])];
    assert_eq!(commit(&mut tables, &desired).tables, [key(1)]);
    assert_eq!(commit(&mut tables, &desired), Committed::default());
}

#[test]
fn a_restart_finds_everything_and_changes_nothing() {
    let mut tables = tables();
    let desired: Vec<DesiredService> =
        (1..=5).map(|number| service(number, &[(11, 100, STAY), (12, 50, STAY)])).collect();
    commit(&mut tables, &desired);
    let used = tables.slot_usage();
    let slots = tables.slots(&key(3));
    let Tables { arrays, .. } = tables;
    let mut tables =
        Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("its own arrays");
    assert_eq!(tables.slot_usage(), used);
    assert_eq!(commit(&mut tables, &desired), Committed::default());
    assert_eq!(tables.slots(&key(3)), slots);
    assert_eq!(tables.members(&key(3)), [address(11), address(12)]);
    assert_eq!(tables.members(&key(6)), []);
}

#[test]
fn arrays_of_another_key_are_refused() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY)])]);
    let Tables { arrays, .. } = tables;
    assert!(Tables::adopt(arrays, HashKey::derive(b"other"), &LIMITS).is_none());
}

#[test]
fn a_drained_backend_keeps_old_flows_and_a_failed_one_does_not() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    let first = tables.backend_id(&key(1), &address(11)).expect("entered");
    let had = tables.slots(&key(1)).iter().filter(|slot| slot.current == first).count();
    commit(&mut tables, &[service(1, &[(11, 0, Flows::Keep), (12, 100, STAY)])]);
    let slots = tables.slots(&key(1));
    assert!(slots.iter().all(|slot| slot.current != first));
    assert_eq!(slots.iter().filter(|slot| slot.previous == first).count(), had);
    let generation = tables.arrays().backends[usize::from(first)].generation();
    commit(&mut tables, &[service(1, &[(11, 0, Flows::Leave), (12, 100, STAY)])]);
    assert!(tables.slots(&key(1)).iter().all(|slot| slot.previous != first));
    let entry = &tables.arrays().backends[usize::from(first)];
    assert_ne!(entry.generation(), generation, "remembered flows are forgotten");
}

#[test]
fn an_index_is_used_again_under_another_generation() {
    let mut tables = tables();
    let mut seen = BTreeMap::new();
    for round in 0..100 {
        let number = 11 + round % 2;
        commit(&mut tables, &[service(1, &[(number, 100, STAY)])]);
        let id = tables.backend_id(&key(1), &address(number)).expect("entered");
        let generation = tables.arrays().backends[usize::from(id)].generation();
        assert_ne!(seen.insert(id, generation), Some(generation));
    }
    assert!(seen.len() <= LIMITS.backends as usize);
}

#[test]
fn full_tables_say_so_and_what_was_there_stays() {
    let mut tables = tables();
    let nine: Vec<DesiredService> =
        (1..=9).map(|number| service(number, &[(11, 100, STAY)])).collect();
    commit(&mut tables, &nine[..3]);
    assert!(tables.commit(&nine, route).refused.is_some());
    assert_eq!(tables.slots(&key(1)).len(), 4096);
    let many: Vec<(u8, u32, Flows)> = (1..=17).map(|number| (number, 100, STAY)).collect();
    let mut tables = self::tables();
    assert_eq!(tables.commit(&[service(1, &many)], route).refused, Some(CommitError::BackendsFull));
}

#[test]
fn a_settled_slot_forgets_unless_its_flows_are_alive() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)])]);
    let slots = tables.slots(&key(1));
    let disputed = slots.iter().position(|slot| slot.is_disputed()).expect("one that moved");
    let previous = slots[disputed].previous;
    let generation = tables.arrays().backends[usize::from(previous)].generation();
    let mask = tables.arrays().flows.len() as u32 - 1;
    let flow = disputed as u64 | 7 << 32;
    let remembered = Remembered { backend: previous, generation, seen: 40, phase: Phase::Open };
    assert_eq!(
        tables.arrays().flows[FlowSet::of(flow, mask) as usize].put(flow, remembered),
        Put::New
    );
    assert_eq!(tables.settle(&key(1), 45, 10), 1);
    assert!(tables.slots(&key(1))[disputed].is_disputed());
    let other = Remembered { seen: 60, backend: 0, generation: 0, phase: Phase::Open };
    assert_eq!(tables.arrays().flows[0].put(1 << 50, other), Put::New);
    assert_eq!(tables.settle(&key(1), 60, 10), 0);
}

#[test]
fn draining_every_backend_keeps_their_flows_and_settling_does_not_stumble() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    let before = tables.slots(&key(1));
    commit(&mut tables, &[service(1, &[(11, 0, Flows::Keep), (12, 0, Flows::Keep)])]);
    let slots = tables.slots(&key(1));
    assert_eq!(slots.len(), before.len());
    for (before, now) in before.iter().zip(&slots) {
        assert_eq!((now.current, now.previous), (0, before.current));
    }
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    let back = tables.slots(&key(1));
    assert!(back.iter().zip(&before).all(|(back, before)| back.current == before.current));
    commit(&mut tables, &[service(1, &[(11, 0, Flows::Leave), (12, 0, Flows::Leave)])]);
    assert_eq!(tables.slots(&key(1)), []);
    assert_eq!(tables.settle(&key(1), 10, 10), 0);
}

#[test]
fn settling_a_service_without_slots_ignores_what_the_cache_remembers() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY)])]);
    let id = tables.backend_id(&key(1), &address(11)).expect("entered");
    let generation = tables.arrays().backends[usize::from(id)].generation();
    let remembered = Remembered { backend: id, generation, seen: 1, phase: Phase::Open };
    assert_eq!(tables.arrays().flows[0].put(1, remembered), Put::New);
    commit(&mut tables, &[service(1, &[(11, 0, STAY)])]);
    tables.settle(&key(1), 10, 10);
    commit(&mut tables, &[service(1, &[])]);
    assert_eq!(tables.settle(&key(1), 10, 10), 0);
}

#[test]
fn one_service_that_does_not_fit_does_not_keep_others_from_changing() {
    let limits = Limits { slots: 2 * 4096, backends: 64, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    // Seventeen backends want a table of 16,384 slots.
    let large: Vec<(u8, u32, Flows)> = (101..=117).map(|number| (number, 100, STAY)).collect();
    let desired = [service(1, &large), service(2, &[(11, 100, STAY)])];
    let committed = tables.commit(&desired, route);
    let refused = CommitError::SlotsFull { wanted: 16_384, used: 0, capacity: 8192 };
    assert_eq!((committed.refused, committed.tables), (Some(refused), vec![key(2)]));
    assert_eq!((tables.slots(&key(1)).len(), tables.slots(&key(2)).len()), (0, 4096));
    // What is not desired any more goes first, and makes room.
    let swapped = [3, 4].map(|number| service(number, &[(11, 100, STAY)]));
    assert_eq!(tables.commit(&swapped, route).all().map(|done| done.tables.len()), Ok(2));
}

#[test]
fn the_largest_table_of_backends_has_all_its_indices() {
    let limits = Limits { backends: 65_535, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    assert_eq!(tables.free_backends.len(), 65_535);
}

#[test]
fn what_an_earlier_dispute_remembered_is_not_believed_in_a_later_one() {
    let mut tables = tables();
    let two = [(11, 100, STAY), (12, 100, STAY)];
    let three = [(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)];
    commit(&mut tables, &[service(1, &two)]);
    commit(&mut tables, &[service(1, &three)]);
    let slots = tables.slots(&key(1));
    let index = slots.iter().position(|slot| slot.is_disputed()).expect("one that moved");
    let backend = slots[index].current;
    let generation = tables.arrays().backends[usize::from(backend)].generation();
    let remembered = Remembered { backend, generation, seen: 1, phase: Phase::Open };
    let set = FlowSet::of(index as u64, tables.arrays().flows.len() as u32 - 1) as usize;
    assert_eq!(tables.arrays().flows[set].put(index as u64, remembered), Put::New);
    assert_eq!(tables.settle(&key(1), 60_000, 10), 0);
    let drained = [(11, 100, STAY), (12, 100, STAY), (13, 0, Flows::Keep)];
    commit(&mut tables, &[service(1, &drained)]);
    assert!(tables.slots(&key(1))[index].is_disputed());
    assert_eq!(tables.arrays().flows[set].get(index as u64), None);
}

#[test]
fn an_entry_that_is_replaced_is_given_back_only_after_a_grace_period() {
    let mut tables = tables();
    let mut desired = service(1, &[(11, 100, STAY)]);
    commit(&mut tables, std::slice::from_ref(&desired));
    let before = tables.backend_id(&key(1), &address(11)).expect("entered");
    desired.forward = Forward::L2;
    let _ = tables.commit(&[desired], route);
    assert!(tables.arrays().backends[usize::from(before)].forward().is_some());
    let epoch = tables.begin_grace().expect("something waits");
    tables.reclaim(epoch);
    assert!(tables.arrays().backends[usize::from(before)].forward().is_none());
}
