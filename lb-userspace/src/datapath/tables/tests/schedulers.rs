//! Lists of schedulers: beside the slots, named by the policy, given back with it.

use std::time::Duration;

use lb_common::{Policy, Table, policy::Scheduler, service};

use super::*;
use crate::datapath::{
    loads::Asked,
    policies::{DesiredPolicy, DesiredUdp},
    schedulers::DesiredScheduler,
};

const TWO: [(u8, u32, Flows); 2] = [(11, 100, STAY), (12, 300, STAY)];
const TABLE: u32 = 4096;
const TURNS: u32 = 1024;

fn scheduled(choice: Scheduler, members: &[(u8, u32, Flows)]) -> DesiredService {
    let policy =
        DesiredPolicy { scheduler: DesiredScheduler::new(choice), ..DesiredPolicy::default() };
    DesiredService { policy, ..service(1, members) }
}

fn table(tables: &Tables) -> Table {
    tables.arrays.services[tables.services[&key(1)].place as usize].table()
}

fn policy(tables: &Tables) -> Policy {
    tables.arrays.policies[table(tables).policy() as usize]
}

/// How often each backend stands in the list, by the last byte of its address.
fn turns(tables: &Tables) -> BTreeMap<u8, usize> {
    let mut turns = BTreeMap::new();
    for slot in tables.list(table(tables)).iter().filter(|slot| slot.current != 0) {
        let entry = &tables.arrays.backends[usize::from(slot.current)];
        let [.., last] = entry.destination()[0].to_ne_bytes();
        *turns.entry(last).or_default() += 1;
    }
    turns
}

fn adopted(tables: Tables) -> Option<Tables> {
    let Tables { arrays, .. } = tables;
    Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS)
}

#[test]
fn a_list_follows_the_weights_and_takes_its_slots() {
    let mut tables = tables();
    commit(&mut tables, &[scheduled(Scheduler::Rotate, &TWO)]);
    assert_eq!(tables.slot_usage().0, TABLE + TURNS);
    assert_eq!(turns(&tables), BTreeMap::from([(11, 256), (12, 768)]));
    assert_eq!((policy(&tables).scheduler(), policy(&tables).listed), (Scheduler::Rotate, 10));

    commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &TWO)]);
    assert_eq!(tables.slot_usage().0, TABLE + 16);
    assert_eq!(turns(&tables), BTreeMap::from([(11, 1), (12, 1)]));
    assert_eq!((policy(&tables).list % 16, policy(&tables).listed), (0, 2));
    commit(&mut tables, &[scheduled(Scheduler::Slot, &TWO)]);
    assert_eq!((tables.slot_usage().0, table(&tables).policy()), (TABLE, 0));
}

#[test]
fn a_changed_list_is_another_and_the_old_one_stays_until_a_grace_period_has_passed() {
    let mut tables = tables();
    commit(&mut tables, &[scheduled(Scheduler::Rotate, &TWO)]);
    let (first, index) = (policy(&tables), table(&tables).policy());
    let one = [(11, 100, STAY), (12, 0, Flows::Keep)];
    let changed = tables.commit(&[scheduled(Scheduler::Rotate, &one)], route);
    assert_eq!(changed.refused, None);
    assert_eq!(turns(&tables), BTreeMap::from([(11, 1024)]));
    assert_ne!((policy(&tables).list, table(&tables).policy()), (first.list, index));
    assert_eq!(tables.arrays.policies[index as usize], first, "packets may be reading it");
    let epoch = tables.begin_grace().expect("something waits");
    tables.reclaim(epoch);
    assert_eq!(tables.arrays.policies[index as usize], Policy::NONE);
    assert_eq!(tables.slot_usage().0, TABLE + TURNS);
}

#[test]
fn lists_come_and_go_without_end() {
    let mut tables = tables();
    for round in 1..100 {
        let members = [(11, round, STAY), (12, 100, STAY)];
        commit(&mut tables, &[scheduled(Scheduler::TwoChoices, &members)]);
        assert_eq!(tables.slot_usage().0, TABLE + TURNS, "round {round}");
    }
    commit(&mut tables, &[]);
    assert_eq!(tables.slot_usage().0, 0);
}

#[test]
fn a_list_that_does_not_fit_leaves_everything_as_it_was() {
    let mut tables = tables();
    commit(&mut tables, &[scheduled(Scheduler::Rotate, &TWO)]);
    let (before, free) = (table(&tables), tables.free_policies.len());
    let room = LIMITS.slots - tables.slot_usage().0;
    assert!(tables.regions.take(room).is_some(), "all that was left");
    let more = [(11, 100, STAY), (12, 301, STAY)];
    let refused = tables.commit(&[scheduled(Scheduler::Rotate, &more)], route).refused;
    assert!(matches!(refused, Some(CommitError::SlotsFull { .. })), "{refused:?}");
    assert_eq!((table(&tables), tables.free_policies.len()), (before, free));
    assert_eq!(turns(&tables), BTreeMap::from([(11, 256), (12, 768)]));
}

#[test]
fn whoever_takes_over_knows_the_list_again() {
    let mut tables = tables();
    let desired = [scheduled(Scheduler::Random, &TWO)];
    commit(&mut tables, &desired);
    let (before, used) = (table(&tables), tables.slot_usage());
    let mut tables = adopted(tables).expect("its own arrays");
    assert_eq!(tables.slot_usage(), used);
    assert_eq!(commit(&mut tables, &desired), Committed::default());
    assert_eq!(table(&tables), before);

    let mut damaged = policy(&tables);
    damaged.list = before.base();
    tables.arrays.policies.replace(before.policy() as usize, damaged);
    assert!(adopted(tables).is_none(), "its list lies in its table");
}

#[test]
fn nobody_for_new_flows_is_no_list() {
    let mut tables = tables();
    commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &TWO)]);
    let none = [(11, 0, Flows::Keep), (12, 0, Flows::Keep)];
    commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &none)]);
    assert_eq!(policy(&tables).scheduler(), Scheduler::Slot);
    assert_eq!(turns(&tables), BTreeMap::new());
    assert_eq!(tables.slot_usage().0, TABLE);
}

#[test]
fn an_entry_that_another_backend_gets_has_no_flows() {
    let mut tables = tables();
    commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &TWO)]);
    let index = tables.backend_id(&key(1), &address(12)).expect("entered");
    tables.arrays.loads[usize::from(index)].set_flows(7);
    tables.answered(index, Duration::from_millis(3));
    assert_eq!(tables.arrays.loads[usize::from(index)].latency(), 3000);
    commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &TWO[..1])]);
    for other in 13.. {
        commit(&mut tables, &[scheduled(Scheduler::LeastFlows, &[TWO[0], (other, 1, STAY)])]);
        if tables.backend_id(&key(1), &address(other)) == Some(index) {
            break;
        }
    }
    let load = &tables.arrays.loads[usize::from(index)];
    assert_eq!((load.flows(), load.latency()), (0, 0));
}

#[test]
fn flows_are_counted_where_a_scheduler_asks_and_packets_remember_them() {
    let mut tables = tables();
    let udp = |choice| {
        let mut service = scheduled(choice, &TWO);
        service.key = ServiceKey::new(service.key.address(), 53, service::UDP);
        service.policy.udp = DesiredUdp::Remember(Duration::from_secs(60));
        service
    };
    let mut nat = scheduled(Scheduler::LeastFlows, &TWO);
    nat.policy.nat_ports = Some((1, 2));
    commit(&mut tables, &[nat, udp(Scheduler::Rotate)]);
    assert_eq!(tables.counted(), []);
    commit(&mut tables, &[scheduled(Scheduler::TwoChoices, &TWO), udp(Scheduler::LeastFlows)]);
    let asked = tables.counted();
    assert_eq!(asked.len(), 4);
    let timeout = tables.arrays.policies.iter().map(|policy| policy.flow_timeout).max();
    let timeout = timeout.expect("the policy of UDP");
    let of_udp = |asked: &&Asked| asked.idle == timeout;
    assert_eq!(asked.iter().filter(of_udp).count(), 2);
    assert!(asked.iter().all(|asked| asked.idle >= timeout), "TCP is counted for longer");
}

#[test]
fn a_table_is_as_large_as_it_is_asked_to_be() {
    let mut tables = tables();
    for slots in [1024, 8192, 4096] {
        let table_slots = Some(slots);
        commit(&mut tables, &[DesiredService { table_slots, ..service(1, &TWO[..1]) }]);
        assert_eq!(tables.slots(&key(1)).len() as u32, slots);
    }
}
