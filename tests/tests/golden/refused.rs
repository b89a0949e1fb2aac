//! Packets for a service that cannot be sent, and of which nobody is told.

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Segment, Shape, Transport, XdpAction,
    fixture::{self, Kind, SMALL_MTU},
};

use crate::{Case, check, forwarded::shapes};

/// The kinds of services behind a small MTU.
pub(crate) const SMALL: [Kind; 4] =
    [Kind::SmallMtu, Kind::SmallMtuIpv6, Kind::SmallMtuL2, Kind::SmallMtuGue];
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
        for kind in SMALL {
            for shape in shapes(kind, transport) {
                cases.extend(around_the_mtu(&shape, kind));
            }
        }
    }
    cases
}

/// The MTU counts the outer header and the packet, but not what Ethernet adds behind it.
fn around_the_mtu(shape: &Shape, kind: Kind) -> Vec<Case> {
    let headers = shape.frame().len() - 14 - shape.payload.len();
    let largest = usize::from(SMALL_MTU) - kind.overhead() - headers;
    let with_payload = |payload: usize, trailer: usize| Shape {
        payload: vec![0x77; payload],
        trailer: vec![0; trailer],
        ..shape.clone()
    };
    // Who may fragment a packet is not told of its size.
    let too_big = without_dont_fragment(with_payload(largest + 1, 0).frame());
    let mut cases = vec![
        Case::sent(format!("{kind:?} just fits"), &with_payload(largest, 0), kind),
        Case::sent(format!("{kind:?} just fits, padded"), &with_payload(largest, 9), kind),
    ];
    // Nor is anybody told over IPv6 who sends no more than its least MTU.
    if too_big.len() - ETHERNET <= 1280 || shape.vip.is_ipv4() {
        cases.push(Case::unchanged(format!("{kind:?} too big"), too_big, Verdict::TooBig));
    }
    cases
}

/// The frame with an IPv4 packet that may be fragmented.
pub(crate) fn without_dont_fragment(mut frame: Vec<u8>) -> Vec<u8> {
    if frame[ETHERNET] >> 4 == 4 {
        frame[ETHERNET + 6] &= !0x40;
    }
    frame
}

#[test]
fn packets_without_a_way_are_dropped_for_the_right_reason() {
    check(&mut fixture::balancer(), &cases());
}

/// A driver may leave less room before a frame than the outer header needs. In a test run only
/// metadata takes that room: 216 bytes are left beside the kernel's own, so 20 bytes fit behind
/// 196 of metadata and not behind 200.
#[test]
fn a_frame_without_headroom_is_dropped() {
    let mut balancer = fixture::balancer();
    let [shape, _] = shapes(Kind::OverIpv4, Transport::Udp);
    let frame = shape.frame();
    let Ok(fits) = balancer.run_behind_metadata(&frame, 196) else {
        println!("skipped: older kernels take 32 bytes of metadata at most");
        return;
    };
    assert_eq!(fits.verdict, Verdict::Transmitted);
    let full = balancer.run_behind_metadata(&frame, 200).expect("a test run");
    assert_eq!((full.verdict, full.action), (Verdict::NoHeadroom, XdpAction::Drop));
}
