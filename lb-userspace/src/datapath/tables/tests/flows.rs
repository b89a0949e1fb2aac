//! What packets know of the flows of backends that take no new ones.

use lb_common::{backend::Stance, flow::Phase, hash, policy::Scheduler};
use proptest::prelude::*;

use super::*;
use crate::datapath::{
    policies::{DesiredPolicy, DesiredUdp},
    schedulers::DesiredScheduler,
};

const KEEP: Flows = Flows::Keep;
const RESET: Flows = Flows::Reset;
const LEAVE: Flows = Flows::Leave;

fn scheduled(members: &[(u8, u32, Flows)]) -> DesiredService {
    let scheduler = DesiredScheduler::new(Scheduler::Rotate);
    let policy = DesiredPolicy { scheduler, ..DesiredPolicy::default() };
    DesiredService { policy, ..service(1, members) }
}

/// A service with members that have no part in the base, as those that were removed.
fn with_departed(members: &[(u8, u32, Flows)], departed: &[(u8, Flows)]) -> DesiredService {
    let mut service = service(1, members);
    service.members.extend(departed.iter().map(|(number, flows)| DesiredMember {
        base_weight: 0,
        ..self::service(1, &[(*number, 0, *flows)]).members[0]
    }));
    service
}

fn id(tables: &Tables, number: u8) -> u16 {
    tables.backend_id(&key(1), &address(number)).expect("entered")
}

fn entry(tables: &Tables, number: u8) -> &Backend {
    &tables.arrays.backends[usize::from(id(tables, number))]
}

fn set_of(tables: &Tables, flow: u64) -> &FlowSet {
    let mask = tables.arrays.flows.len() as u32 - 1;
    &tables.arrays.flows[FlowSet::of(flow, mask) as usize]
}

/// Has a flow remembered as one of this backend.
fn remember(tables: &Tables, flow: u64, number: u8, seen: u16) {
    let (backend, generation) = (id(tables, number), entry(tables, number).generation());
    let remembered = Remembered { backend, generation, seen, phase: Phase::Open };
    assert_eq!(set_of(tables, flow).put(flow, remembered), Put::New);
}

/// The backend that a flow is remembered for, if that is the one still.
fn recalled(tables: &Tables, flow: u64) -> Option<Address> {
    let found = set_of(tables, flow).get(flow)?;
    let entry = &tables.arrays.backends[usize::from(found.backend)];
    (entry.generation() == found.generation && entry.forward().is_some()).then(|| entry.address())
}

#[test]
fn packets_see_what_becomes_of_flows() {
    let mut tables = tables();
    for (flows, stance) in [
        (STAY, Stance::Takes),
        (KEEP, Stance::Keeps),
        (RESET, Stance::Resets),
        (LEAVE, Stance::Keeps),
        (KEEP, Stance::Keeps),
        (STAY, Stance::Takes),
    ] {
        let weight = if flows == STAY { 100 } else { 0 };
        commit(&mut tables, &[service(1, &[(11, weight, flows), (12, 100, STAY)])]);
        assert_eq!(entry(&tables, 11).stance(), stance, "{flows:?}");
        assert_eq!(entry(&tables, 12).stance(), Stance::Takes);
        // Another way to it is another entry's bytes, and the same stance.
        let link = Link { destination: [stance as u8; 6], source: [8; 6] };
        let next = NextHop { interface: 9, mtu: 1400, link, ..NextHop::default() };
        tables.reroute(&address(11), |_| Some(Route { source: address(2), next }));
        assert_eq!(entry(&tables, 11).stance(), stance, "{flows:?}");
    }
}

#[test]
fn a_change_without_room_changes_no_stance() {
    let limits = Limits { slots: 2 * 4096, backends: 64, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 0, RESET)])]);
    let mut many: Vec<(u8, u32, Flows)> = (101..=140).map(|number| (number, 100, STAY)).collect();
    many.extend([(11, 0, KEEP), (12, 0, KEEP)]);
    let refused = tables.commit(&[service(1, &many)], route).refused;
    assert!(matches!(refused, Some(CommitError::SlotsFull { .. })), "{refused:?}");
    assert_eq!(entry(&tables, 11).stance(), Stance::Takes);
    assert_eq!(entry(&tables, 12).stance(), Stance::Resets);
}

#[test]
fn slots_stay_disputed_for_as_long_as_flows_are_kept_or_reset() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    let had = tables.slots(&key(1)).iter().filter(|slot| slot.current == id(&tables, 11)).count();
    for flows in [KEEP, RESET] {
        commit(&mut tables, &[service(1, &[(11, 0, flows), (12, 100, STAY)])]);
        assert_eq!(tables.settle(&key(1), 60_000, 10), had as u32, "{flows:?}");
    }
    commit(&mut tables, &[service(1, &[(11, 0, LEAVE), (12, 100, STAY)])]);
    assert_eq!(tables.settle(&key(1), 60_000, 10), 0);
}

#[test]
fn a_flap_gives_back_the_same_slots_and_keeps_what_began_meanwhile_apart() {
    let mut tables = tables();
    let up = [service(1, &[(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)])];
    let down = [service(1, &[(11, 0, KEEP), (12, 100, STAY), (13, 100, STAY)])];
    commit(&mut tables, &up);
    let before = tables.slots(&key(1));
    let generation = entry(&tables, 11).generation();
    for round in 0..20 {
        commit(&mut tables, &down);
        let first = id(&tables, 11);
        for (slot, before) in tables.slots(&key(1)).iter().zip(&before) {
            // Whoever is not remembered is older than all of this.
            let old = if slot.is_disputed() { slot.previous } else { slot.current };
            assert_eq!(old, before.current, "round {round}");
            assert_ne!(slot.current, first);
        }
        commit(&mut tables, &up);
        for (slot, before) in tables.slots(&key(1)).iter().zip(&before) {
            assert_eq!(slot.current, before.current, "round {round}");
            assert!(!slot.is_disputed() || slot.previous == before.current);
        }
    }
    assert_eq!(entry(&tables, 11).generation(), generation, "its remembered flows are its own");
}

#[test]
fn whoever_only_keeps_flows_has_no_part_in_the_table_nor_in_its_size() {
    let members: Vec<_> = (11..=14).map(|number| (number, 100, STAY)).collect();
    let current = |tables: &Tables| {
        let slots = tables.slots(&key(1));
        let of = |slot: &Slot| tables.arrays.backends[usize::from(slot.current)].address();
        slots.iter().map(of).collect::<Vec<_>>()
    };
    let (mut with, mut without) = (tables(), tables());
    let departed: Vec<_> = (101..=112).map(|number| (number, KEEP)).collect();
    commit(&mut with, &[with_departed(&members, &departed)]);
    commit(&mut without, &[service(1, &members)]);
    assert_eq!(current(&with), current(&without));
}

#[test]
fn a_removed_backend_keeps_its_entry_and_finds_it_again() {
    let mut tables = tables();
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    let (first, generation) = (id(&tables, 11), entry(&tables, 11).generation());
    commit(&mut tables, &[with_departed(&[(12, 100, STAY)], &[(11, KEEP)])]);
    assert!(tables.slots(&key(1)).iter().any(|slot| slot.previous == first));
    let Tables { arrays, .. } = tables;
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("its own");
    assert_eq!(tables.members(&key(1)), [address(11), address(12)], "a new daemon knows of it");
    assert_eq!(tables.serving_members(&key(1)), [address(12)].into(), "and that it has gone");
    commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
    assert_eq!((id(&tables, 11), entry(&tables, 11).generation()), (first, generation));
}

#[test]
fn flows_are_forgotten_once_whether_slots_know_the_backend_or_not() {
    let udp = DesiredPolicy {
        udp: DesiredUdp::Remember(std::time::Duration::from_secs(60)),
        ..DesiredPolicy::default()
    };
    let nat = DesiredPolicy { nat_ports: Some((1024, 2048)), ..DesiredPolicy::default() };
    for policy in [DesiredPolicy::default(), udp, nat, scheduled(&[]).policy] {
        let mut tables = tables();
        let with = |flows| {
            let service = service(1, &[(11, 0, flows), (12, 100, STAY)]);
            DesiredService { policy: policy.clone(), ..service }
        };
        commit(&mut tables, &[service(1, &[(11, 100, STAY), (12, 100, STAY)])]);
        commit(&mut tables, &[with(KEEP)]);
        let generation = entry(&tables, 11).generation();
        commit(&mut tables, &[with(RESET)]);
        assert_eq!(entry(&tables, 11).generation(), generation, "{policy:?}");
        commit(&mut tables, &[with(LEAVE)]);
        assert_ne!(entry(&tables, 11).generation(), generation, "{policy:?}");
        let generation = entry(&tables, 11).generation();
        let mut desired = with(LEAVE);
        desired.members[1].weight = 50;
        commit(&mut tables, &[desired]);
        assert_eq!(entry(&tables, 11).generation(), generation, "once: {policy:?}");
    }
}

#[test]
fn what_is_translated_needs_no_past() {
    let mut tables = tables();
    let nat = |members: &[(u8, u32, Flows)]| {
        let policy = DesiredPolicy { nat_ports: Some((1024, 2048)), ..DesiredPolicy::default() };
        DesiredService { policy, forward: Forward::Nat, ..service(1, members) }
    };
    commit(&mut tables, &[nat(&[(11, 100, STAY), (12, 100, STAY)])]);
    commit(&mut tables, &[nat(&[(11, 0, KEEP), (12, 100, STAY)])]);
    assert!(tables.slots(&key(1)).iter().all(|slot| !slot.is_disputed()));
}

#[test]
fn what_is_always_remembered_holds_no_slot_and_outlives_every_change() {
    let mut tables = tables();
    let two = [(11, 100, STAY), (12, 100, STAY)];
    commit(&mut tables, &[scheduled(&two)]);
    // Wherever the scheduler has put them, whatever their slots say.
    let flows: Vec<u64> = (0..32).map(|number| (number * 129) | (number << 34)).collect();
    for (index, flow) in flows.iter().enumerate() {
        remember(&tables, *flow, if index % 2 == 0 { 11 } else { 12 }, 50);
    }
    let assert_recalled = |tables: &Tables, when: &str| {
        for (index, flow) in flows.iter().enumerate() {
            let expected = address(if index % 2 == 0 { 11 } else { 12 });
            assert_eq!(recalled(tables, *flow), Some(expected), "{when}");
        }
    };
    let three = [(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)];
    commit(&mut tables, &[scheduled(&three)]);
    assert!(tables.disputed().contains(&key(1)));
    assert_recalled(&tables, "one more");
    assert_eq!(tables.settle(&key(1), 50, 100), 0);
    commit(&mut tables, &[scheduled(&[(11, 0, KEEP), (12, 100, STAY), (13, 100, STAY)])]);
    assert_recalled(&tables, "one drained");
    commit(&mut tables, &[scheduled(&three)]);
    assert_recalled(&tables, "one ready");
}

#[test]
fn a_scheduler_that_comes_does_not_believe_what_was_remembered_long_ago() {
    let mut tables = tables();
    let two = [(11, 100, STAY), (12, 100, STAY)];
    let three = [(11, 100, STAY), (12, 100, STAY), (13, 100, STAY)];
    commit(&mut tables, &[service(1, &two)]);
    commit(&mut tables, &[service(1, &three)]);
    let slots = tables.slots(&key(1));
    let disputed = slots.iter().position(|slot| slot.is_disputed()).expect("one that moved") as u64;
    let settled = slots.iter().position(|slot| !slot.is_disputed()).expect("one that stayed");
    remember(&tables, disputed | 1 << 40, 12, 1);
    remember(&tables, settled as u64 | 1 << 41, 12, 1);
    commit(&mut tables, &[scheduled(&three)]);
    assert_eq!(recalled(&tables, disputed | 1 << 40), Some(address(12)), "it is true still");
    assert_eq!(recalled(&tables, settled as u64 | 1 << 41), None);
}

#[test]
fn a_scheduler_that_goes_leaves_its_flows_where_they_are() {
    let mut tables = tables();
    let two = [(11, 100, STAY), (12, 100, STAY)];
    commit(&mut tables, &[scheduled(&two)]);
    let before = tables.slots(&key(1));
    let index = before.iter().position(|slot| slot.current == id(&tables, 11)).expect("some");
    let flow = index as u64 | 1 << 40;
    remember(&tables, flow, 12, 50);
    commit(&mut tables, &[service(1, &two)]);
    for (slot, before) in tables.slots(&key(1)).iter().zip(&before) {
        assert_eq!((slot.current, slot.previous), (before.current, before.current));
    }
    assert_eq!(recalled(&tables, flow), Some(address(12)));
    assert_eq!(tables.settle(&key(1), 55, 10), 1, "only its slot is left");
    assert_eq!(tables.settle(&key(1), 70, 10), 0);
}

#[test]
fn entries_of_departed_backends_give_way() {
    let mut tables = tables();
    let kept: Vec<_> = (101..=106).map(|number| (number, KEEP)).collect();
    let ten: Vec<_> = (11..=20).map(|number| (number, 100, STAY)).collect();
    commit(&mut tables, &[with_departed(&ten, &kept)]);
    assert_eq!(tables.free_backends.len(), 0);
    // Another backend takes the place of one that was removed, in the same commit.
    let eleven: Vec<_> = (11..=21).map(|number| (number, 100, STAY)).collect();
    let old = id(&tables, 101);
    remember(&tables, 7 << 40, 101, 1);
    commit(&mut tables, &[with_departed(&eleven, &kept[1..])]);
    assert_eq!(id(&tables, 21), old);
    assert_eq!(recalled(&tables, 7 << 40), None, "it does not get the other's flows");
    // And a backend that is there for one that is not any more.
    let others: Vec<_> = (12..=22).map(|number| (number, 100, STAY)).collect();
    commit(&mut tables, &[with_departed(&others, &kept[1..])]);
    assert_eq!(tables.members(&key(1)).len(), 16);
}

/// Makes the service one of these backends. They have entries and no part in its table, the making of
/// which would take most of the time.
fn replace(tables: &mut Tables, departed: &[(u8, Flows)]) {
    let committed = tables.commit(&[with_departed(&[], departed)], route);
    assert_eq!(committed.refused, None);
    if let Some(epoch) = tables.begin_grace() {
        tables.reclaim(epoch);
    }
}

#[test]
fn sixty_five_thousand_lives_later_no_flow_finds_a_stranger() {
    const CYCLES: u32 = 65_600;

    // So few entries that each is used for half of all lives, and its generation comes round.
    let limits = Limits { backends: 2, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    let old: Vec<u64> = (0..16).map(|number| number << 36 | number).collect();
    // Odd and even generations, whichever come round.
    let mut lives = BTreeSet::new();
    for flows in [&old[..8], &old[8..]] {
        replace(&mut tables, &[(11, KEEP)]);
        lives.insert((id(&tables, 11), entry(&tables, 11).generation()));
        flows.iter().for_each(|flow| remember(&tables, *flow, 11, 1));
        replace(&mut tables, &[(11, LEAVE)]);
    }
    replace(&mut tables, &[]);
    let (mut returned, mut strangers) = (0, BTreeSet::new());
    for cycle in 0..CYCLES {
        let number = 12 + (cycle % 200) as u8;
        replace(&mut tables, &[(number, KEEP)]);
        let life = (id(&tables, number), entry(&tables, number).generation());
        returned += u32::from(lives.contains(&life));
        strangers.extend(old.iter().filter_map(|flow| recalled(&tables, *flow)));
        // Flows of every age are about, beside the old ones.
        let flow = (u64::from(cycle) * 2 + 1) << 32 | u64::from(cycle);
        let generation = entry(&tables, number).generation();
        let backend = id(&tables, number);
        set_of(&tables, flow).replace(
            flow,
            Remembered { backend, generation, seen: cycle as u16, phase: Phase::Open },
        );
        assert_eq!(recalled(&tables, flow), Some(address(number)));
        if cycle == CYCLES / 2 {
            let about = tables.arrays.flows.iter().flat_map(FlowSet::iter).count();
            assert!(about > 400, "{about} flows are about");
        }
        replace(&mut tables, &[]);
    }
    assert!(returned > 0, "no generation came round: the test proves nothing");
    assert_eq!(strangers, BTreeSet::new());
    replace(&mut tables, &[(11, KEEP)]);
    let alive = tables.arrays.flows.iter().flat_map(FlowSet::iter).filter(|(_, flow)| {
        let entry = entry(&tables, 11);
        flow.backend == id(&tables, 11) && flow.generation == entry.generation()
    });
    assert_eq!(alive.count(), 0);
}

#[test]
fn a_backend_that_fails_sixty_five_thousand_times_is_not_given_old_flows() {
    let mut tables = tables();
    replace(&mut tables, &[(11, KEEP)]);
    let generation = entry(&tables, 11).generation();
    remember(&tables, 7 << 40, 11, 1);
    let mut came_round = false;
    for _ in 0..65_536 {
        replace(&mut tables, &[(11, LEAVE)]);
        replace(&mut tables, &[(11, KEEP)]);
        came_round |= entry(&tables, 11).generation() == generation;
        assert_eq!(recalled(&tables, 7 << 40), None);
    }
    assert!(came_round);
}

/// Where a TCP packet goes, by the rules of a service without a scheduler: a flow of a disputed slot
/// is remembered as it goes.
fn packet(tables: &Tables, flow: u64, begins: bool) -> Option<Address> {
    let slots = tables.slots(&key(1));
    let slot = *slots.get(flow as usize & slots.len().checked_sub(1)?)?;
    let address = |index: u16| {
        let entry = &tables.arrays.backends[usize::from(index)];
        entry.forward().is_some().then(|| entry.address())
    };
    if !slot.is_disputed() {
        return address(slot.current);
    }
    if let Some(known) = recalled(tables, flow).filter(|_| !begins) {
        return Some(known);
    }
    let backend = if begins { slot.current } else { slot.previous };
    let generation = tables.arrays.backends[usize::from(backend)].generation();
    let remembered = Remembered { backend, generation, seen: 1, phase: Phase::Open };
    let _ = set_of(tables, flow).put(flow, remembered);
    address(backend)
}

/// What a member is: up with a weight, keeping flows, removed and keeping them, or without any.
const WAYS: [(u32, u32, Flows); 5] =
    [(100, 100, STAY), (100, 30, STAY), (100, 0, KEEP), (0, 0, KEEP), (100, 0, LEAVE)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_flow_leaves_a_backend_that_keeps_it(
        changes in prop::collection::vec((11..16_u8, 0..WAYS.len(), 0..3_u8), 1..25),
    ) {
        let mut tables = tables();
        let mut ways: BTreeMap<u8, usize> = (11..16).map(|number| (number, 0)).collect();
        let mut flows: BTreeMap<u64, Address> = BTreeMap::new();
        for (round, (number, way, also)) in changes.into_iter().enumerate() {
            ways.insert(number, way);
            let members = ways.iter().map(|(number, way)| {
                let (base_weight, weight, flows) = WAYS[*way];
                DesiredMember { address: address(*number), port: 0, base_weight, weight, flows }
            });
            commit(&mut tables, &[DesiredService::plain(
                key(1),
                Forward::Ipip,
                members.collect(),
            )]);
            // Whoever has lost its flows has none that could break.
            let keeps = |owner: &Address| {
                ways.iter().any(|(number, way)| {
                    address(*number) == *owner && WAYS[*way].2 != LEAVE
                })
            };
            flows.retain(|_, owner| keeps(owner));
            for (flow, owner) in &flows {
                prop_assert_eq!(packet(&tables, *flow, false), Some(*owner), "round {}", round);
            }
            if also == 1 {
                // The grace time is over; all that are about have just sent something.
                tables.settle(&key(1), 1, 10);
            }
            for number in 0..4 {
                let flow = hash::spread((round * 4 + number) as u64) >> 1;
                let Some(owner) = packet(&tables, flow, true) else { continue };
                let takes = ways.iter().any(|(number, way)| {
                    address(*number) == owner && WAYS[*way].1 > 0
                });
                prop_assert!(takes, "a new flow goes where new ones are taken");
                flows.insert(flow, owner);
            }
        }
    }
}
