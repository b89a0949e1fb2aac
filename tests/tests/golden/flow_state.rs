//! What floods, forgery and churn do to the flows that are remembered: nothing.

use lb_common::{Forward, ServiceKey, Verdict, service};
use lb_tests::packets::{
    Balancer, Segment, Shape,
    fixture::{self, Kind, VIPS},
    hopped, relinked,
};
use lb_userspace::datapath::desired::{DesiredMember, DesiredService, Flows};

use crate::forwarded::{CLIENTS, at};

const PORT: u16 = 70;
const OTHER_PORT: u16 = 71;
const FIRST: Kind = Kind::L2;
const SECOND: Kind = Kind::OverIpv4;
const STRANGER: Kind = Kind::SmallMtuL2;
/// Few enough that the smallest cache holds them, whatever their sets.
const LIVING: u16 = 8;

fn members(kinds: &[(Kind, u32)]) -> Vec<DesiredMember> {
    let member = |(kind, weight): &(Kind, u32)| DesiredMember {
        flows: if *weight == 0 { Flows::Keep } else { Flows::Stay },
        ..fixture::member(kind.backend(), *weight)
    };
    kinds.iter().map(member).collect()
}

fn key(port: u16) -> ServiceKey {
    fixture::key(VIPS[0], port, service::TCP)
}

fn commit(balancer: &mut Balancer, services: &[(u16, Vec<DesiredMember>)]) {
    let desired: Vec<DesiredService> = services
        .iter()
        .map(|(port, members)| DesiredService::plain(key(*port), Forward::L2, members.clone()))
        .collect();
    balancer.tables().commit(&desired, fixture::route).all().expect("there is room");
}

fn segment(client_port: u16, segment: Segment) -> Shape {
    let mut shape = Shape::tcp(CLIENTS[0], &at(VIPS[0], PORT), segment);
    shape.client.set_port(client_port);
    shape
}

/// The backend that a packet reaches, if any.
fn backend_of(balancer: &mut Balancer, shape: &Shape) -> Option<Kind> {
    let frame = shape.frame();
    let outcome = balancer.agree(&frame);
    if outcome.verdict != Verdict::Transmitted {
        assert_eq!(outcome.verdict, Verdict::NoBackend, "{shape:?}");
        return None;
    }
    let reaches = |kind: &Kind| {
        outcome.bytes == relinked(&hopped(&frame), &kind.route().expect("a way").next.link)
    };
    let kind = [FIRST, SECOND, STRANGER].into_iter().find(reaches);
    Some(kind.expect("a known backend"))
}

/// A balancer whose only service has gone from the first backend to the second.
fn disputed() -> Balancer {
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    commit(&mut balancer, &[(PORT, members(&[(FIRST, 100)]))]);
    commit(&mut balancer, &[(PORT, members(&[(FIRST, 0), (SECOND, 100)]))]);
    balancer
}

#[test]
fn a_flood_of_new_flows_pushes_out_nobody_who_is_alive() {
    let mut balancer = disputed();
    for port in 1..=LIVING {
        assert_eq!(backend_of(&mut balancer, &segment(port, Segment::Ack)), Some(FIRST));
    }
    for port in 1000..60_000 {
        backend_of(&mut balancer, &segment(port, Segment::Syn));
    }
    for port in 1..=LIVING {
        assert_eq!(backend_of(&mut balancer, &segment(port, Segment::Ack)), Some(FIRST), "{port}");
    }
    balancer.compare().expect("the same tables");
}

#[test]
fn a_full_cache_degrades_to_the_hash_and_loses_nothing() {
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    commit(&mut balancer, &[(PORT, members(&[(FIRST, 100), (SECOND, 100)]))]);
    let flows = 1000..2000;
    let mut first: Vec<Option<Kind>> = Vec::new();
    for port in flows.clone() {
        first.push(backend_of(&mut balancer, &segment(port, Segment::Syn)));
    }
    for (port, before) in flows.zip(first) {
        assert!(before.is_some());
        assert_eq!(backend_of(&mut balancer, &segment(port, Segment::Ack)), before, "{port}");
    }
    assert_eq!(balancer.remembered(), [], "a slot that keeps its backend has no state");
}

#[test]
fn a_client_port_that_is_used_again_never_goes_back_to_a_draining_backend() {
    let mut balancer = disputed();
    for _ in 0..100 {
        // The connection of before, and a new one from the same port.
        let reached = backend_of(&mut balancer, &segment(9, Segment::Syn));
        assert_eq!(reached, Some(SECOND));
        assert_eq!(backend_of(&mut balancer, &segment(9, Segment::Ack)), Some(SECOND));
        assert_eq!(backend_of(&mut balancer, &segment(9, Segment::Fin)), Some(SECOND));
    }
}

#[test]
fn forged_ends_do_not_end_a_flow() {
    let mut balancer = disputed();
    assert_eq!(backend_of(&mut balancer, &segment(5, Segment::Ack)), Some(FIRST));
    for forged in [Segment::Reset, Segment::Fin, Segment::Reset] {
        assert_eq!(backend_of(&mut balancer, &segment(5, forged)), Some(FIRST));
        assert_eq!(backend_of(&mut balancer, &segment(5, Segment::Ack)), Some(FIRST));
    }
}

/// An entry that one backend leaves is soon another service's; what is remembered of the former
/// must not lead there.
#[test]
fn flows_of_a_backend_that_left_never_reach_a_stranger() {
    let mut balancer = disputed();
    assert_eq!(backend_of(&mut balancer, &segment(5, Segment::Ack)), Some(FIRST));
    for _ in 0..300 {
        commit(
            &mut balancer,
            &[(PORT, members(&[(SECOND, 100)])), (OTHER_PORT, members(&[(STRANGER, 100)]))],
        );
        let reached = backend_of(&mut balancer, &segment(5, Segment::Ack));
        assert_ne!(reached, Some(STRANGER));
        commit(&mut balancer, &[(PORT, members(&[(FIRST, 0), (SECOND, 100)]))]);
        let reached = backend_of(&mut balancer, &segment(5, Segment::Ack));
        assert_ne!(reached, Some(STRANGER));
    }
}
