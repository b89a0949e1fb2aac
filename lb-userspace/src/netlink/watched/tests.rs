use super::*;
use crate::netlink::way::{InterfaceProblem, Via};

fn way(last: u8) -> Way {
    Way {
        via: Via::Direct,
        source: [10, 0, 0, 1].into(),
        interface: 7,
        interface_name: "eth0".into(),
        vlan: None,
        mtu: 1500,
        destination: [2, 0, 0, 0, 0, last],
        link_source: [2, 0, 0, 0, 0, 1],
    }
}

fn no_route() -> Fault {
    Fault::NoRoute("nothing in the routing table matches the address".into())
}

fn unresolved(last: u8) -> Fault {
    Fault::Unresolved { next_hop: [10, 0, 0, last].into(), interface_name: "eth0".into() }
}

fn asking(last: u8) -> Finding {
    Finding::Unanswered { fault: unresolved(last), asked_in_vain: false }
}

fn failed(last: u8) -> Finding {
    Finding::Unanswered { fault: unresolved(last), asked_in_vain: true }
}

/// Feeds findings, each with its time in milliseconds, and compares what is reported.
fn play(story: impl IntoIterator<Item = (u64, Finding, Option<Result<Way, Fault>>)>) -> Watched {
    let begin = Instant::now();
    let mut watched = Watched::default();
    for (at, finding, expected) in story {
        let reported = watched.learn(finding.clone(), begin + Duration::from_millis(at));
        assert_eq!(reported, expected, "at {at} ms: {finding:?}");
    }
    watched
}

#[test]
fn reports_only_changes() {
    play([
        (0, Finding::Way(way(9)), Some(Ok(way(9)))),
        (10, Finding::Way(way(9)), None),
        (20, Finding::Way(way(8)), Some(Ok(way(8)))),
        (30, Finding::Fault(no_route()), Some(Err(no_route()))),
        (40, Finding::Fault(no_route()), None),
        (50, Finding::Way(way(8)), Some(Ok(way(8)))),
    ]);
}

#[test]
fn says_nothing_of_a_new_address_while_the_kernel_asks() {
    let watched = play([
        (0, failed(2), None),
        (1, asking(2), None),
        (1000, asking(2), None),
        (3001, failed(2), Some(Err(unresolved(2)))),
        (4000, asking(2), None),
        (4001, Finding::Way(way(9)), Some(Ok(way(9)))),
    ]);
    assert!(watched.is_settled());
}

#[test]
fn a_known_way_outlives_a_new_question() {
    play([
        (0, Finding::Way(way(9)), Some(Ok(way(9)))),
        // The kernel has given up the old hardware address, and now asks everybody.
        (60_000, failed(2), None),
        (60_001, asking(2), None),
        (60_003, Finding::Way(way(8)), Some(Ok(way(8)))),
    ]);
}

#[test]
fn a_dead_next_hop_is_reported_when_all_asking_was_in_vain() {
    let watched = play([
        (0, Finding::Way(way(9)), Some(Ok(way(9)))),
        (60_000, failed(2), None),
        (61_000, asking(2), None),
        (63_000, failed(2), Some(Err(unresolved(2)))),
        (63_001, asking(2), None),
        (66_000, failed(2), None),
    ]);
    assert!(!watched.is_settled());
}

#[test]
fn patience_ends_even_if_the_kernel_goes_on() {
    play([
        (0, asking(2), None),
        (4_999, asking(2), None),
        (5_000, asking(2), Some(Err(unresolved(2)))),
    ]);
}

#[test]
fn another_next_hop_has_its_own_time() {
    play([
        (0, asking(2), None),
        (4_000, asking(3), None),
        (6_000, asking(3), None),
        (7_000, failed(3), Some(Err(unresolved(3)))),
    ]);
}

#[test]
fn an_interface_that_is_down_is_reported_at_once() {
    let down = Fault::Interface { name: "eth0".into(), problem: InterfaceProblem::Down };
    play([
        (0, Finding::Way(way(9)), Some(Ok(way(9)))),
        (1, Finding::Fault(down.clone()), Some(Err(down))),
        (2, asking(2), None),
        (3, Finding::Way(way(9)), Some(Ok(way(9)))),
    ]);
}

#[test]
fn keeps_what_is_known_while_the_kernel_cannot_be_read() {
    let unreadable = || Finding::Unreadable("timed out".into());
    let watched = play([(0, Finding::Way(way(9)), Some(Ok(way(9)))), (1, unreadable(), None)]);
    assert!(!watched.is_settled(), "it is to be tried again");
    play([(0, unreadable(), Some(Err(Fault::Unreadable("timed out".into()))))]);
}

#[test]
fn has_a_verdict_when_time_is_up() {
    assert_eq!(play([(0, asking(2), None)]).verdict(), Err(unresolved(2)));
    let known = play([(0, Finding::Way(way(9)), Some(Ok(way(9))))]);
    assert_eq!(known.verdict(), Ok(way(9)));
    assert_eq!(known.reported(), Some(&Ok(way(9))));
}

/// Whoever is known is given time; whoever is not may just have come up.
#[test]
fn asks_hard_until_this_next_hop_is_known() {
    let hop = |last| {
        let neighbour = [10, 0, 0, last].into();
        Some(Hop { interface: 7, neighbour, source: [10, 0, 0, 1].into(), mtu: None })
    };
    let now = Instant::now();
    let mut watched = Watched::default();
    assert_eq!(watched.care(), Care::Insistent);
    watched.hop = hop(2);
    watched.learn(Finding::Way(way(9)), now);
    watched.learn(asking(2), now);
    assert_eq!(watched.care(), Care::Patient);
    watched.hop = hop(3);
    watched.learn(asking(3), now);
    assert_eq!(watched.care(), Care::Insistent, "the route leads elsewhere now");
    watched.learn(Finding::Way(way(8)), now);
    assert_eq!(watched.care(), Care::Patient);
    watched.learn(Finding::Fault(no_route()), now);
    assert_eq!(watched.care(), Care::Insistent);
}
