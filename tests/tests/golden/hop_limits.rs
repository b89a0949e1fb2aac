//! TTL and hop limit: one less for each balancer, so that loops between balancers end.

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Shape, Transport, XdpAction,
    fixture::{self, Kind},
};

use crate::{
    Case, check,
    forwarded::{KINDS, shapes},
};

/// The frame of a shape with another hop limit.
pub(crate) fn limited(shape: &Shape, limit: u8) -> Vec<u8> {
    let mut frame = shape.frame();
    if frame[ETHERNET] >> 4 == 6 {
        frame[ETHERNET + 7] = limit;
        return frame;
    }
    frame[ETHERNET + 8] = limit;
    let (mut header, rest) =
        etherparse::Ipv4Header::from_slice(&frame[ETHERNET..]).expect("an IPv4 packet");
    header.header_checksum = header.calc_header_checksum();
    [&frame[..ETHERNET], &header.to_bytes(), rest].concat()
}

#[test]
fn one_is_taken_off_and_the_checksum_stays_right() {
    let mut balancer = fixture::balancer();
    for kind in KINDS {
        for shape in shapes(kind, Transport::Udp) {
            let case = |limit| {
                let name = format!("{kind:?} hop limit {limit}");
                Case::sent_as(name, limited(&shape, limit), &shape, kind)
            };
            check(&mut balancer, &(2..=255).map(case).collect::<Vec<_>>());
        }
    }
}

/// A packet that two balancers send to each other.
#[test]
fn a_loop_ends() {
    let mut balancer = fixture::balancer();
    for shape in shapes(Kind::L2, Transport::Udp) {
        let mut frame = limited(&shape, 255);
        for hop in 1..255 {
            let outcome = balancer.agree(&frame);
            assert_eq!(outcome.verdict, Verdict::Transmitted, "hop {hop}");
            frame = outcome.bytes;
        }
        assert_eq!(balancer.agree(&frame).verdict, Verdict::HopLimitTold);
    }
}

/// Nor does it go round in tunnels: each has a packet with one hop less within.
#[test]
fn a_packet_without_hops_is_not_sent_whatever_its_backend() {
    let mut balancer = fixture::balancer();
    balancer.set_replies_per_tick(0);
    for kind in KINDS {
        for shape in shapes(kind, Transport::Udp) {
            for limit in [0, 1] {
                let frame = limited(&shape, limit);
                let outcome = balancer.agree(&frame);
                assert_eq!(
                    (outcome.verdict, outcome.action),
                    (Verdict::ReplyLimited, XdpAction::Drop)
                );
                assert_eq!(outcome.bytes, frame);
            }
        }
    }
    balancer.compare().expect("nothing is counted as sent");
}
