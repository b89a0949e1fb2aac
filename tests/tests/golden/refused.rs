//! Packets for a service that cannot be sent.

use lb_common::Verdict;
use lb_tests::packets::{
    Outcome, Segment, Shape, Transport,
    fixture::{self, Kind, SMALL_MTU},
};

use crate::{Case, check, forwarded::shapes};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp(Segment::Ack), Transport::Udp];

/// Every case of a packet that is dropped for want of a way, and the largest that have one.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in TRANSPORTS {
        for (kind, verdict) in
            [(Kind::NoBackend, Verdict::NoBackend), (Kind::NoNextHop, Verdict::NextHopUnknown)]
        {
            for shape in shapes(kind, transport) {
                cases.push(Case::unchanged(format!("{kind:?}"), shape.frame(), verdict));
            }
        }
        for kind in [Kind::SmallMtu, Kind::SmallMtuIpv6, Kind::SmallMtuL2] {
            for shape in shapes(kind, transport) {
                cases.extend(around_the_mtu(&shape, kind));
            }
        }
    }
    cases
}

/// The MTU counts the outer header and the packet, but not what Ethernet adds behind it.
fn around_the_mtu(shape: &Shape, kind: Kind) -> [Case; 3] {
    let headers = shape.frame().len() - 14 - shape.payload.len();
    let largest = usize::from(SMALL_MTU) - kind.overhead() - headers;
    let with_payload = |payload: usize, trailer: usize| Shape {
        payload: vec![0x77; payload],
        trailer: vec![0; trailer],
        ..shape.clone()
    };
    let too_big = with_payload(largest + 1, 0).frame();
    [
        Case::sent(format!("{kind:?} just fits"), &with_payload(largest, 0), kind),
        Case::sent(format!("{kind:?} just fits, padded"), &with_payload(largest, 9), kind),
        Case::unchanged(format!("{kind:?} too big"), too_big, Verdict::TooBig),
    ]
}

#[test]
fn packets_without_a_way_are_dropped_for_the_right_reason() {
    check(&mut fixture::balancer(), &cases());
}

/// A driver may leave less room before a frame than the outer header needs. In a test run only
/// metadata takes that room: 216 bytes are left beside the kernel's own, so 20 bytes fit behind
/// 196 of metadata and not behind 200.
#[test]
fn a_frame_without_headroom_is_dropped_and_keeps_its_bytes() {
    let mut balancer = fixture::balancer();
    let [shape, _] = shapes(Kind::OverIpv4, Transport::Udp);
    let frame = shape.frame();
    let Ok(fits) = balancer.run_behind_metadata(&frame, 196) else {
        println!("skipped: older kernels take 32 bytes of metadata at most");
        return;
    };
    assert_eq!(fits.verdict, Verdict::Transmitted);
    let full = balancer.run_behind_metadata(&frame, 200);
    let expected = Outcome::of(Verdict::NoHeadroom, frame);
    assert_eq!(full.expect("a test run"), expected);
}
