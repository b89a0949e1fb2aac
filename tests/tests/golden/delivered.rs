//! Packets whose backend is the balancer's own machine: they pass, unchanged, and count as its.

use lb_common::{Counters, Verdict};
use lb_tests::packets::{
    Segment, Tag, Transport,
    fixture::{self, Kind},
    tagged,
};

use crate::{Case, check, forwarded::shapes, hop_limits::limited};

#[test]
fn packets_for_this_machine_pass_unchanged() {
    let mut cases = Vec::new();
    for transport in [Transport::Tcp(Segment::Syn), Transport::Tcp(Segment::Ack), Transport::Udp] {
        for shape in shapes(Kind::Here, transport) {
            let case = |name: &str, frame| Case::unchanged(name, frame, Verdict::Delivered);
            cases.push(case("whole", shape.frame()));
            cases.push(case("tagged", tagged(&shape.frame(), &[Tag::customer(5)])));
            // It is not sent on, so it needs no hop.
            cases.push(case("the last hop", limited(&shape, 1)));
        }
    }
    check(&mut fixture::balancer(), &cases);
}

#[test]
fn they_are_counted_for_their_backend() {
    let mut balancer = fixture::balancer();
    let [shape, _] = shapes(Kind::Here, Transport::Tcp(Segment::Syn));
    let frame = shape.frame();
    check(&mut balancer, &[Case::unchanged("a SYN", frame.clone(), Verdict::Delivered)]);
    let counted = balancer.counted();
    let bytes = (frame.len() - 14) as u64;
    assert_eq!(counted, Counters { packets: 1, bytes, new_flows: 1 });
}
