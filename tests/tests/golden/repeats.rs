//! SYN that comes again where answers do not pass by: counted where flows are remembered.

use lb_common::{Verdict, policy::Scheduler, service};
use lb_tests::packets::{
    Balancer, LIMITS, Segment, Shape, Tag,
    fixture::{self, Kind, VIPS},
    tagged,
};
use lb_userspace::datapath::{
    desired::{DesiredMember, DesiredService, Flows},
    policies::DesiredPolicy,
    schedulers::DesiredScheduler,
    signals::Signals,
};

use crate::forwarded::{CLIENTS, at};

const PORT: u16 = 70;
const FIRST: Kind = Kind::L2;
const SECOND: Kind = Kind::OverIpv4;

fn packet(client_port: u16, segment: Segment) -> Vec<u8> {
    let mut shape = Shape::tcp(CLIENTS[0], &at(VIPS[0], PORT), segment);
    shape.client.set_port(client_port);
    shape.frame()
}

fn send(balancer: &mut Balancer, frames: &[Vec<u8>]) {
    for frame in frames {
        assert_eq!(balancer.agree(frame).verdict, Verdict::Transmitted);
    }
}

/// A balancer of one service under a scheduler, which has gone through tables with these weights.
fn balancer(choice: Scheduler, tables: &[[u32; 2]]) -> Balancer {
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    for weights in tables {
        let member = |(kind, weight): (Kind, u32)| DesiredMember {
            flows: if weight == 0 { Flows::Keep } else { Flows::Stay },
            ..fixture::member(kind.backend(), weight)
        };
        let members = [FIRST, SECOND].into_iter().zip(*weights).map(member).collect();
        let key = fixture::key(VIPS[0], PORT, service::TCP);
        let scheduler = DesiredScheduler::new(choice);
        let policy = DesiredPolicy { scheduler, watches: true, ..DesiredPolicy::default() };
        let service = DesiredService {
            policy,
            ..DesiredService::plain(key, lb_common::Forward::L2, members)
        };
        balancer.tables().commit(&[service], fixture::route).all().expect("there is room");
    }
    balancer
}

/// SYN that came again, by backends with any; nothing else was counted.
fn repeats(balancer: &Balancer) -> Vec<(Kind, u64)> {
    balancer.compare().expect("the same signals");
    let arrays = balancer.arrays();
    let counted = (0..LIMITS.backends as u16).map(|index| (index, balancer.signals(index)));
    let counted = counted.filter(|(_, signals)| *signals != Signals::default());
    let named = counted.map(|(index, signals)| {
        assert_eq!(signals, Signals { repeats: signals.repeats, ..Signals::default() });
        let address = arrays.backends[usize::from(index)].address();
        let kind = [FIRST, SECOND].into_iter().find(|kind| address == kind.backend().into());
        (kind.expect("a known backend"), signals.repeats)
    });
    named.collect()
}

#[test]
fn a_slot_that_nobody_disputes_counts_nothing() {
    let mut balancer = balancer(Scheduler::Slot, &[[100, 100]]);
    let syn = packet(1, Segment::Syn);
    send(&mut balancer, &[syn.clone(), syn.clone(), syn]);
    assert_eq!(repeats(&balancer), []);
}

#[test]
fn a_disputed_slot_counts_what_comes_again() {
    let mut balancer = balancer(Scheduler::Slot, &[[100, 0], [0, 100]]);
    let [syn, ack, other] = [(1, Segment::Syn), (1, Segment::Ack), (2, Segment::Syn)]
        .map(|(port, segment)| packet(port, segment));
    send(&mut balancer, &[syn.clone(), other]);
    assert_eq!(repeats(&balancer), [], "the first are no repeats");
    // Under a tag it goes the uncommon way.
    send(&mut balancer, &[syn.clone(), tagged(&syn, &[Tag::customer(7)])]);
    assert_eq!(repeats(&balancer), [(SECOND, 2)]);
    // The client has been answered: this one begins another connection.
    send(&mut balancer, &[ack, syn]);
    assert_eq!(repeats(&balancer), [(SECOND, 2)]);
}

#[test]
fn a_scheduler_counts_what_comes_again() {
    for choice in [Scheduler::Rotate, Scheduler::LeastFlows] {
        let mut balancer = balancer(choice, &[[0, 100]]);
        let [syn, ack] = [Segment::Syn, Segment::Ack].map(|segment| packet(1, segment));
        send(&mut balancer, &[syn.clone(), syn.clone(), tagged(&syn, &[Tag::customer(7)])]);
        assert_eq!(repeats(&balancer), [(SECOND, 2)], "{choice:?}");
        send(&mut balancer, &[ack, syn]);
        assert_eq!(repeats(&balancer), [(SECOND, 2)], "{choice:?}");
    }
}
