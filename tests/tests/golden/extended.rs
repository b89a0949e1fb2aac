//! IPv6 extension headers and IPv4 options before the ports: packets reach the backend of plain
//! ones.

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Extension, Segment, Transport, extended,
    fixture::{self, Kind},
};

use crate::{
    Case, check,
    forwarded::{KINDS, shapes},
};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp(Segment::Ack), Transport::Udp];

/// Every case of a packet whose ports stand further behind.
pub(crate) fn cases() -> Vec<Case> {
    let chains = [
        vec![Extension::HopByHop(1)],
        vec![Extension::Destination(2)],
        vec![Extension::Routing(0)],
        vec![Extension::Authentication],
        vec![Extension::AtomicFragment],
        vec![Extension::HopByHop(1), Extension::Destination(1), Extension::Routing(0)],
        vec![Extension::AtomicFragment, Extension::Destination(3)],
        vec![Extension::Destination(1); 6],
        vec![Extension::HopByHop(31), Extension::Destination(1)],
        vec![Extension::Destination(32)],
    ];
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in TRANSPORTS {
            let [_, shape] = shapes(kind, transport);
            for chain in &chains {
                let frame = extended(&shape.frame(), chain);
                let name = format!("{kind:?} {transport:?} {chain:?}");
                cases.push(Case::sent_as(name, frame, &shape, kind));
            }
        }
    }
    cases.extend(source_routes());
    cases
}

/// RFC 7126 sections 4.3 and 4.4: packets that demand a route are dropped.
fn source_routes() -> Vec<Case> {
    let mut cases = Vec::new();
    for route in [131, 137] {
        let options: [&[u8]; 4] = [
            &[route, 7, 4, 10, 0, 0, 1, 0],
            &[1, route, 3, 4],
            &[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 1, route, 3, 4, 0],
            &[
                1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                1, 1, 1, 1, 1, 1, 1, 1, 1, route, 3, 4,
            ],
        ];
        for options in options {
            for transport in TRANSPORTS {
                let [mut shape, _] = shapes(Kind::OverIpv4, transport);
                shape.options = options.to_vec();
                let name = format!("options {options:?}");
                cases.push(Case::unchanged(name.clone(), shape.frame(), Verdict::SourceRoute));
                // To another address it is no business of ours.
                let mut other = shape.frame();
                other[ETHERNET + 19] = 77;
                cases.push(Case::unchanged(name, other, Verdict::NotService));
            }
        }
    }
    cases
}

#[test]
fn headers_before_the_ports_change_no_backend() {
    check(&mut fixture::balancer(), &cases());
}
