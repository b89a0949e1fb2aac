//! Datagrams in pieces: all of them reach one backend.

use lb_common::Verdict;
use lb_tests::packets::{
    Balancer, ETHERNET, Segment, Shape, Transport,
    fixture::{self, BY_ADDRESS_VIPS, Kind},
    fragments,
};

use crate::{
    Case, check,
    forwarded::{CLIENTS, KINDS, at, shapes},
};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp(Segment::Ack), Transport::Udp];

/// A datagram's pieces, each of which is sent to the backend of its flow.
fn sent(shape: &Shape, kind: Kind, size: usize, id: u32) -> Vec<Case> {
    let pieces = fragments(&shape.frame(), size, id).into_iter().enumerate();
    let case = |(number, piece)| {
        Case::sent_as(format!("{kind:?} piece {number} of {id}"), piece, shape, kind)
    };
    pieces.map(case).collect()
}

/// As [`sent`], of pieces that come before any first one.
fn unmatched(cases: &[Case]) -> Vec<Case> {
    let case = |case: &Case| {
        Case::unchanged(case.name.clone(), case.frame.clone(), Verdict::FragmentUnmatched)
    };
    cases.iter().map(case).collect()
}

fn long(kind: Kind, transport: Transport) -> [Shape; 2] {
    shapes(kind, transport).map(|shape| Shape { payload: vec![0x5a; 100], ..shape })
}

#[test]
fn every_piece_reaches_the_backend_of_the_first() {
    let mut balancer = fixture::balancer();
    let mut id = 0;
    for kind in KINDS {
        for transport in TRANSPORTS {
            for shape in long(kind, transport) {
                for size in [24, 32, 64, 104] {
                    id += 1;
                    check(&mut balancer, &sent(&shape, kind, size, id));
                }
            }
        }
    }
}

#[test]
fn pieces_after_the_first_may_come_in_any_order() {
    let mut balancer = fixture::balancer();
    for shape in long(Kind::OverIpv4, Transport::Udp) {
        let mut pieces = sent(&shape, Kind::OverIpv4, 24, 9);
        pieces[1..].reverse();
        check(&mut balancer, &pieces);
        // And again, as routers may send them.
        check(&mut balancer, &pieces);
    }
}

#[test]
fn pieces_before_the_first_are_dropped_and_counted() {
    let mut balancer = fixture::balancer();
    for transport in TRANSPORTS {
        for shape in long(Kind::OverIpv4, transport) {
            let pieces = sent(&shape, Kind::OverIpv4, 24, 9);
            check(&mut balancer, &unmatched(&pieces[1..]));
            check(&mut balancer, &pieces);
            // Another datagram of the same flow.
            let others = sent(&shape, Kind::OverIpv4, 24, 10);
            check(&mut balancer, &unmatched(&others[1..]));
        }
    }
}

#[test]
fn where_the_address_tells_the_flow_no_first_piece_is_needed() {
    let mut balancer = fixture::balancer();
    for (client, vip) in CLIENTS.into_iter().zip(BY_ADDRESS_VIPS) {
        let shape = Shape::tcp(client, &at(vip, 80), Segment::Ack);
        check(&mut balancer, &sent(&shape, Kind::L2, 24, 3)[1..]);
    }
}

#[test]
fn an_only_piece_is_whole() {
    let mut balancer = fixture::balancer();
    for kind in KINDS {
        let [_, shape] = long(kind, Transport::Udp);
        check(&mut balancer, &sent(&shape, kind, 8000, 9));
    }
}

fn dropped(balancer: &mut Balancer, name: &str, frame: Vec<u8>, verdict: Verdict) {
    check(balancer, &[Case::unchanged(name, frame, verdict)]);
}

/// RFC 1858 and RFC 3128: pieces that hide what a filter before us, or behind, would look at.
#[test]
fn tiny_fragments_are_dropped() {
    let mut balancer = fixture::balancer();
    for family in [0, 1] {
        let tcp = &long(Kind::OverIpv4, Transport::Tcp(Segment::Syn))[family];
        for size in [8, 16] {
            let pieces = fragments(&tcp.frame(), size, 7);
            dropped(&mut balancer, "half a header", pieces[0].clone(), Verdict::TinyFragment);
        }
        let pieces = fragments(&tcp.frame(), 8, 7);
        dropped(&mut balancer, "a second at byte 8", pieces[1].clone(), Verdict::FragmentUnmatched);
        // Behind a first piece it would be forwarded, if it were not for what it overwrites.
        check(&mut balancer, &sent(tcp, Kind::OverIpv4, 24, 7)[..1]);
        dropped(&mut balancer, "a second at byte 8", pieces[1].clone(), Verdict::TinyFragment);
    }
}

/// The ping of death, which is longer than any datagram once it is put together.
#[test]
fn datagrams_that_would_be_too_long_are_dropped() {
    let mut balancer = fixture::balancer();
    for family in [0, 1] {
        let shape = &long(Kind::OverIpv4, Transport::Udp)[family];
        let pieces = sent(shape, Kind::OverIpv4, 24, 8);
        check(&mut balancer, &pieces[..1]);
        let mut last = pieces[1].frame.clone();
        let field = [ETHERNET + 6, ETHERNET + 42][family];
        let offset = [0x1fff_u16, 0xfff8][family];
        last[field..field + 2].copy_from_slice(&offset.to_be_bytes());
        dropped(&mut balancer, "beyond 65,535", last, Verdict::Malformed);
    }
}
