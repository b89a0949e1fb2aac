//! Policies: published with their table, replaced beside what packets see, given back.

use std::time::Duration;

use lb_common::{
    FlowSet, ServiceKey, Table,
    flow::{Phase, Remembered},
    policy::flag,
    service,
    settings::feature,
};

use super::*;
use crate::datapath::{
    keyed::{Keyed, MappedPrefix, SourceRule},
    policies::{DesiredPolicy, DesiredUdp, FlowLimit},
};

fn denying(last: u8) -> DesiredPolicy {
    let source: IpAddr = [198, 51, 100, last].into();
    let rules = BTreeMap::from([(MappedPrefix::new(&source.into(), 32), false)]);
    DesiredPolicy { rules, ..DesiredPolicy::default() }
}

fn with(policy: DesiredPolicy, members: &[(u8, u32, Flows)]) -> DesiredService {
    DesiredService { policy, ..service(1, members) }
}

const TWO: [(u8, u32, Flows); 2] = [(11, 100, STAY), (12, 100, STAY)];

fn table(tables: &Tables, key: &ServiceKey) -> Table {
    tables.arrays.services[tables.services[key].place as usize].table()
}

fn policy(tables: &Tables) -> u32 {
    table(tables, &key(1)).policy()
}

fn rule(tables: &Tables, policy: u32, last: u8) -> Option<bool> {
    let source: IpAddr = [198, 51, 100, last].into();
    lb_common::Tables::source_rule(&tables.arrays, policy, &source.into())
}

fn adopted(tables: Tables) -> Tables {
    let Tables { arrays, .. } = tables;
    Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("its own arrays")
}

#[test]
fn a_changed_policy_leaves_slots_alone_and_the_old_one_until_a_grace_period_has_passed() {
    let mut tables = tables();
    commit(&mut tables, &[with(DesiredPolicy::default(), &TWO)]);
    let plain = table(&tables, &key(1));
    assert_eq!(plain.policy(), 0);
    commit(&mut tables, &[with(denying(7), &TWO)]);
    let first = policy(&tables);
    assert_eq!(table(&tables, &key(1)), plain.under(first), "the same slots");
    assert_eq!((rule(&tables, first, 7), rule(&tables, first, 8)), (Some(false), None));

    let committed = tables.commit(&[with(denying(8), &TWO)], route).all().expect("room");
    assert_eq!(committed.tables, [], "no table was replaced");
    let second = policy(&tables);
    assert_ne!(first, second);
    assert_eq!(rule(&tables, first, 7), Some(false), "packets may be reading it");
    assert_eq!((rule(&tables, second, 7), rule(&tables, second, 8)), (None, Some(false)));
    let epoch = tables.begin_grace().expect("something waits");
    tables.reclaim(epoch);
    assert_eq!(rule(&tables, first, 7), None);
    assert_eq!(tables.arrays.policies[first as usize], lb_common::Policy::NONE);
}

#[test]
fn policies_and_rules_come_and_go_without_end() {
    let mut tables = tables();
    for round in 0..100 {
        commit(&mut tables, &[with(denying(round), &TWO)]);
        assert_eq!(tables.arrays.source_rules.entries().len(), 1);
    }
    commit(&mut tables, &[]);
    assert_eq!(tables.arrays.source_rules.entries().len(), 0);
    assert_eq!(tables.free_policies.len(), tables.arrays.policies.len() - 1);
}

#[test]
fn a_restart_keeps_a_policy_that_is_as_desired_and_forgets_what_no_table_names() {
    let mut tables = tables();
    commit(&mut tables, &[with(denying(7), &TWO)]);
    let before = table(&tables, &key(1));
    // What a daemon leaves that dies before it publishes.
    let stray = SourceRule { policy: before.policy() + 1, prefix: rule_prefix(9) };
    tables.arrays.source_rules.insert(stray, 1).expect("room");

    let mut tables = adopted(tables);
    assert_eq!(tables.arrays.source_rules.entries().len(), 1);
    assert_eq!(commit(&mut tables, &[with(denying(7), &TWO)]), Committed::default());
    assert_eq!(table(&tables, &key(1)), before);
    let mut tables = adopted(tables);
    commit(&mut tables, &[with(denying(8), &TWO)]);
    assert_ne!(policy(&tables), before.policy());
    assert_eq!(rule(&tables, policy(&tables), 8), Some(false));
    assert_eq!(tables.arrays.source_rules.entries().len(), 1);
}

#[test]
fn tables_that_name_what_is_not_there_or_each_others_policies_are_refused() {
    for policies in [[1 << 19, 0], [3, 3]] {
        let mut tables = tables();
        commit(&mut tables, &[service(1, &TWO), service(2, &TWO)]);
        for (number, policy) in [1, 2].into_iter().zip(policies) {
            let place = tables.services[&key(number)].place as usize;
            let service = &tables.arrays.services[place];
            service.publish(service.table().under(policy));
        }
        let Tables { arrays, .. } = tables;
        assert!(Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).is_none());
    }
}

#[test]
fn a_limit_that_is_new_begins_with_a_full_bucket() {
    let mut tables = tables();
    let limited = |burst| {
        let limit = Some(FlowLimit { per_minute: 1, burst });
        with(DesiredPolicy { limit, ..DesiredPolicy::default() }, &TWO)
    };
    let take = |tables: &Tables| {
        let index = policy(tables) as usize;
        let (bucket, policy) = (&tables.arrays.buckets[index], tables.arrays.policies[index]);
        assert!(policy.asks(flag::LIMITED));
        (0..10).filter(|_| bucket.take(1, policy.limit)).count()
    };
    for burst in [2, 3, 2, 3, 5] {
        commit(&mut tables, &[limited(burst)]);
        assert_eq!((take(&tables), take(&tables)), (burst as usize, 0));
    }
}

#[test]
fn a_limit_that_stays_goes_on_where_it_was_whatever_else_changes() {
    let mut tables = tables();
    let limited = |last| {
        let limit = Some(FlowLimit { per_minute: 1, burst: 5 });
        with(DesiredPolicy { limit, ..denying(last) }, &TWO)
    };
    let take = |tables: &Tables| {
        let index = policy(tables) as usize;
        tables.arrays.buckets[index].take(1, tables.arrays.policies[index].limit)
    };
    commit(&mut tables, &[limited(0)]);
    let mut seen = vec![policy(&tables)];
    for last in 1..=5 {
        assert!(take(&tables), "{last}");
        commit(&mut tables, &[limited(last)]);
        seen.push(policy(&tables));
    }
    assert!(!take(&tables), "five were all");
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "each is another policy: {seen:?}");
}

#[test]
fn rules_that_do_not_fit_leave_the_service_as_it_was() {
    let mut tables = tables();
    commit(&mut tables, &[with(denying(7), &TWO)]);
    let before = table(&tables, &key(1));
    tables.arrays.source_rules = Keyed::anonymous(3);
    let source = |last: u8| rule_prefix(last);
    let many = DesiredPolicy {
        rules: (1..=4).map(|last| (source(last), false)).collect(),
        ..DesiredPolicy::default()
    };
    let refused = tables.commit(&[with(many, &TWO)], route).refused;
    assert_eq!(refused, Some(CommitError::RulesFull { wanted: 4 }));
    assert_eq!(table(&tables, &key(1)), before);
    assert_eq!(tables.arrays.source_rules.entries().len(), 0, "nothing half-way stays");
}

#[test]
fn without_room_for_slots_a_new_policy_is_given_back() {
    let limits = Limits { slots: 4096, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    commit(&mut tables, &[with(denying(7), &TWO)]);
    let free = tables.free_policies.len();
    let three = [(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)];
    assert!(tables.commit(&[with(denying(8), &three)], route).refused.is_some());
    assert_eq!(tables.free_policies.len(), free);
    assert_eq!(tables.arrays.source_rules.entries().len(), 1);
}

#[test]
fn servers_are_backends_that_are_not_down() {
    let mut tables = tables();
    let quic = |members: &[(u8, u32, Flows)]| {
        let layout = lb_common::policy::ServerIdLayout { offset: 1, length: 2 };
        let servers = BTreeMap::from([(address(11), 0xa), (address(12), 0xb)]);
        let udp = DesiredUdp::Quic { layout, servers };
        with(DesiredPolicy { udp, ..DesiredPolicy::default() }, members)
    };
    let server = |tables: &Tables, id| {
        let found = lb_common::Tables::server(&tables.arrays, policy(tables), (id, 2));
        found.map(|index| tables.arrays.backends[usize::from(index)].address())
    };
    commit(&mut tables, &[quic(&TWO)]);
    assert_eq!(server(&tables, 0xa), Some(address(11)));
    assert_eq!(server(&tables, 0xb), Some(address(12)));
    assert_eq!(server(&tables, 0xc), None);
    commit(&mut tables, &[quic(&[(11, 0, Flows::Keep), (12, 0, Flows::Leave)])]);
    assert_eq!(server(&tables, 0xa), Some(address(11)), "it keeps its connections");
    assert_eq!(server(&tables, 0xb), None);
    // Under its old index a backend that came back would be found as somebody else.
    commit(&mut tables, &[quic(&[(12, 100, STAY)])]);
    commit(&mut tables, &[quic(&TWO)]);
    assert_eq!(server(&tables, 0xa), Some(address(11)));
    let tables = adopted(tables);
    assert_eq!(server(&tables, 0xb), Some(address(12)));
}

/// A UDP service whose flows are remembered.
fn remembering(members: &[(u8, u32, Flows)]) -> DesiredService {
    let udp = DesiredUdp::Remember(Duration::from_secs(60));
    let policy = DesiredPolicy { udp, ..DesiredPolicy::default() };
    DesiredService { key: udp_key(), ..with(policy, members) }
}

fn udp_key() -> ServiceKey {
    ServiceKey::new(IpAddr::from([10, 200, 0, 1]).into(), 53, service::UDP)
}

#[test]
fn drained_backends_keep_remembered_flows_and_those_that_go_down_or_away_lose_them() {
    for (then, is_kept) in [
        (vec![(11, 0, Flows::Keep), (12, 100, STAY)], true),
        (vec![(11, 0, Flows::Leave), (12, 100, STAY)], false),
        (vec![(12, 100, STAY)], false),
    ] {
        let mut tables = tables();
        commit(&mut tables, &[remembering(&TWO)]);
        let id = tables.backend_id(&udp_key(), &address(11)).expect("entered");
        let generation = tables.arrays.backends[usize::from(id)].generation();
        // It has no slots any more when it changes for the second time.
        commit(&mut tables, &[remembering(&[(11, 0, Flows::Keep), (12, 100, STAY)])]);
        let _ = tables.commit(&[remembering(&then)], route);
        let entry = &tables.arrays.backends[usize::from(id)];
        assert_eq!(entry.generation() == generation, is_kept, "{then:?}");
    }
}

#[test]
fn slots_of_udp_have_no_past_and_what_is_remembered_is_not_erased() {
    let mut tables = tables();
    commit(&mut tables, &[remembering(&TWO)]);
    let backend = tables.backend_id(&udp_key(), &address(11)).expect("entered");
    let generation = tables.arrays.backends[usize::from(backend)].generation();
    let flow = |slot: u64| slot | 7 << 40;
    for slot in 0..64 {
        let set = FlowSet::of(flow(slot), tables.arrays.flows.len() as u32 - 1) as usize;
        // A set has four places.
        let _ = tables.arrays.flows[set]
            .put(flow(slot), Remembered { backend, generation, seen: 1, phase: Phase::Open });
    }
    let count = |tables: &Tables| tables.arrays.flows.iter().flat_map(FlowSet::iter).count();
    let before = count(&tables);
    assert!(before > 0);
    for round in 0..6 {
        let third = [(11, 100, STAY), (12, 50 + round, STAY), (13, 100, STAY)];
        commit(&mut tables, &[remembering(&third)]);
        assert!(tables.slots(&udp_key()).iter().all(|slot| !slot.is_disputed()));
        assert_eq!(count(&tables), before);
    }
    assert_eq!(tables.disputed(), []);
}

fn rule_prefix(last: u8) -> MappedPrefix {
    MappedPrefix::new(&IpAddr::from([198, 51, 100, last]).into(), 32)
}

#[test]
fn packets_look_for_translated_flows_until_somebody_says_that_there_are_none() {
    let features = |tables: &Tables| tables.arrays.settings[0].features;
    let policy = DesiredPolicy { nat_ports: Some((1024, 2047)), ..DesiredPolicy::default() };
    let desired = DesiredService { forward: Forward::Nat, ..with(policy, &TWO) };
    let mut tables = tables();
    commit(&mut tables, std::slice::from_ref(&desired));
    assert_eq!((features(&tables), tables.translates()), (feature::NAT, true));
    commit(&mut tables, &[]);
    assert_eq!((features(&tables), tables.translates()), (feature::NAT, false));
    let mut tables = adopted(tables);
    assert_eq!(features(&tables), feature::NAT);
    tables.end_translation();
    assert_eq!(features(&tables), 0);
    commit(&mut tables, &[desired]);
    assert_eq!(features(&tables), feature::NAT);
}
