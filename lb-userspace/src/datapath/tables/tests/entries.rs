//! Entries of backends: replaced as a whole or not at all, and found again after a crash.

use super::*;

fn of(forward: Forward, numbers: std::ops::RangeInclusive<u8>) -> DesiredService {
    let members: Vec<_> = numbers.map(|number| (number, 100, STAY)).collect();
    DesiredService { forward, ..service(1, &members) }
}

/// Indices that are neither free nor a backend's.
fn lost(tables: &Tables) -> usize {
    LIMITS.backends as usize - tables.free_backends.len() - tables.backends.len()
}

/// The indices that packets come to.
fn named(tables: &Tables) -> BTreeSet<u16> {
    tables.slots(&key(1)).iter().map(|slot| slot.current).collect()
}

/// Whether a change of the way to a backend reaches the entries that packets come to.
fn assert_reroutes(tables: &mut Tables, numbers: std::ops::RangeInclusive<u8>) {
    let link = Link { destination: [7; 6], source: [8; 6] };
    let next = NextHop { interface: 9, mtu: 1400, link, ..NextHop::default() };
    for number in numbers {
        tables.reroute(&address(number), |_| Some(Route { source: address(1), next }));
    }
    for index in named(tables) {
        assert_eq!(tables.arrays.backends[usize::from(index)].next_hop(), next, "{index}");
    }
}

#[test]
fn a_change_that_has_no_room_leaves_the_entries_that_packets_use() {
    for forward in [Forward::Gue, Forward::L2] {
        let mut tables = tables();
        commit(&mut tables, &[of(Forward::Ipip, 11..=24)]);
        let before = named(&tables);
        // Two of fourteen find room.
        let refused = tables.commit(&[of(forward, 11..=24)], route).refused;
        assert_eq!(refused, Some(CommitError::BackendsFull));
        assert_eq!((named(&tables), lost(&tables)), (before, 0));
        assert_reroutes(&mut tables, 11..=24);
        commit(&mut tables, &[of(Forward::Ipip, 11..=18)]);
        commit(&mut tables, &[of(forward, 11..=18)]);
        assert_eq!((named(&tables).len(), lost(&tables)), (8, 0));
        let forwards = named(&tables).into_iter().map(|index| {
            tables.arrays.backends[usize::from(index)].forward().expect("an entry in use")
        });
        assert!(forwards.into_iter().all(|other| other == forward));
        assert_reroutes(&mut tables, 11..=18);
    }
}

#[test]
fn a_table_that_has_no_room_leaves_the_entries_that_packets_use() {
    let limits = Limits { slots: 2 * 4096, ..LIMITS };
    let arrays = Arrays::anonymous(&Lengths::from(&limits)).expect("memory");
    let mut tables = Tables::adopt(arrays, HashKey::derive(b"test"), &limits).expect("empty");
    let other = service(2, &[(31, 100, STAY)]);
    commit(&mut tables, &[of(Forward::Ipip, 11..=12), other.clone()]);
    let refused = tables.commit(&[of(Forward::L2, 11..=12), other], route).refused;
    assert!(matches!(refused, Some(CommitError::SlotsFull { .. })), "{refused:?}");
    assert_eq!(lost(&tables), 0);
    assert_reroutes(&mut tables, 11..=12);
}

#[test]
fn of_two_entries_of_a_backend_the_one_that_packets_use_outlives_a_crash() {
    let mut tables = tables();
    commit(&mut tables, &[of(Forward::Ipip, 11..=11)]);
    // The indices go round, so that the newer one is now the higher and now the lower.
    for round in 0..2 * LIMITS.backends {
        let forward = if round % 2 == 0 { Forward::L2 } else { Forward::Ipip };
        let _ = tables.commit(&[of(forward, 11..=11)], route);
        let Tables { arrays, .. } = tables;
        tables = Tables::adopt(arrays, HashKey::derive(b"test"), &LIMITS).expect("its own");
        let index = tables.backend_id(&key(1), &address(11)).expect("a backend");
        assert_eq!(named(&tables), [index].into(), "round {round}");
        assert_reroutes(&mut tables, 11..=11);
        assert_eq!(commit(&mut tables, &[of(forward, 11..=11)]), Committed::default());
        assert_eq!((named(&tables), lost(&tables)), ([index].into(), 0), "round {round}");
    }
}
