use super::*;

/// Ticks for which an open flow is kept.
const KEPT: u16 = Phase::Open.kept() as u16;

const fn to(backend: u16, seen: u16) -> Remembered {
    Remembered { backend, generation: 1, seen, phase: Phase::Open }
}

#[test]
fn remembers_and_replaces() {
    let set = FlowSet::default();
    assert_eq!(set.get(42), None);
    assert_eq!(set.put(42, to(3, 10)), Put::New);
    assert_eq!(set.put(42, to(4, 11)), Put::Known);
    assert_eq!(set.get(42), Some(to(4, 11)));
    assert_eq!(set.iter().count(), 1);
}

#[test]
fn a_zero_hash_is_a_flow_like_any_other() {
    let set = FlowSet::default();
    assert_eq!(set.get(0), None);
    assert!(set.put(0, to(7, 0)).is_done());
    assert_eq!(set.get(0), Some(to(7, 0)));
}

#[test]
fn the_longest_silent_makes_room_across_the_wrap() {
    let set = FlowSet::default();
    for (flow, seen) in [(1, 65_130), (2, 65_535), (3, 3), (4, 1)] {
        assert!(set.put(flow, to(1, seen)).is_done());
    }
    assert_eq!(set.put(5, to(1, 4)), Put::Evicted);
    assert_eq!(set.get(1), None);
    assert!([2, 3, 4, 5].iter().all(|flow| set.get(*flow).is_some()));
}

#[test]
fn flows_that_are_alive_are_not_pushed_out() {
    let set = FlowSet::default();
    for flow in 1..=4 {
        assert!(set.put(flow, to(1, 100)).is_done());
    }
    assert_eq!(set.put(5, to(1, 100 + KEPT)), Put::Refused);
    assert_eq!(set.put(2, to(3, 300)), Put::Known, "a flow that is known is not new");
    assert_eq!(set.put(5, to(1, 101 + KEPT)), Put::Evicted);
    assert_eq!((set.get(2), set.get(5)), (Some(to(3, 300)), Some(to(1, 101 + KEPT))));
}

#[test]
fn flows_that_anybody_can_make_up_leave_a_place() {
    let set = FlowSet::default();
    let found = (1..=9).filter(|flow| set.put_leaving_room(*flow, to(1, 100)).is_done()).count();
    assert_eq!(found, 3);
    assert!(set.put(10, to(2, 100)).is_done());
    assert_eq!(set.put(12, to(2, 100)), Put::Refused);
    assert_eq!(
        set.put_leaving_room(10, to(3, 101)),
        Put::Known,
        "a flow that is known keeps its place"
    );
    assert_eq!(set.get(10), Some(to(3, 101)));
}

#[test]
fn what_replaces_always_has_a_place() {
    let set = FlowSet::default();
    for flow in 1..=1000_u64 {
        let hash = flow.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        set.replace(hash, to(flow as u16, 100));
        assert_eq!(set.get(hash), Some(to(flow as u16, 100)));
    }
    assert_eq!(set.iter().count(), WAYS);
    set.replace(7, to(1, 101));
    set.replace(8, to(1, 102));
    assert_eq!(set.get(7), Some(to(1, 101)), "the longest silent goes first");
}

#[test]
fn what_is_forgotten_is_gone() {
    let set = FlowSet::default();
    assert!([1, 2].iter().all(|flow| set.put(*flow, to(*flow as u16, 1)).is_done()));
    set.forget(|_, flow| flow.backend == 1);
    assert_eq!((set.get(1), set.get(2)), (None, Some(to(2, 1))));
}

#[test]
fn flows_that_have_not_begun_or_are_over_make_room_first() {
    for (phase, kept) in Phase::ALL.map(|phase| (phase, phase.kept() as u16)) {
        let set = FlowSet::default();
        for flow in 1..=3 {
            assert_eq!(set.put(flow, to(1, 100)), Put::New);
        }
        assert_eq!(set.put(4, Remembered { phase, ..to(1, 100) }), Put::New);
        assert_eq!(set.put(5, to(2, 100 + kept)), Put::Refused, "{phase:?}");
        assert_eq!(set.put(5, to(2, 101 + kept)), Put::Evicted, "{phase:?}");
        assert!(phase == Phase::Open || set.get(4).is_none(), "{phase:?}");
    }
}
