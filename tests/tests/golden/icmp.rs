//! ICMP errors about packets of a service, which reach the backend of the flow that they quote.

use std::net::IpAddr;

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Segment, Shape, Transport,
    fixture::{self, Kind, VIPS},
    icmp::{self, Complaint},
};

use crate::{
    Case, check,
    forwarded::{CLIENTS, KINDS, at, shapes},
};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp(Segment::Ack), Transport::Udp];
const COMPLAINTS: [Complaint; 3] =
    [Complaint::Unreachable, Complaint::TooBig(1280), Complaint::TimeExceeded];

fn router(shape: &Shape) -> IpAddr {
    if shape.vip.is_ipv6() {
        [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1].into()
    } else {
        [203, 0, 113, 1].into()
    }
}

/// Every case of an ICMP message to a service's address.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in TRANSPORTS {
            for shape in shapes(kind, transport) {
                for complaint in COMPLAINTS {
                    // What RFC 792 demands, a bit more, and all of the packet.
                    for quoted in [8, 20, 1000] {
                        let frame = icmp::error(router(&shape), &shape, complaint, quoted);
                        let name = format!("{kind:?} {transport:?} {complaint:?} {quoted}");
                        cases.push(Case::sent_as(name, frame, &shape, kind));
                    }
                }
            }
        }
    }
    cases.extend(of_every_type());
    cases.extend(of_others());
    cases
}

/// Errors are sent on, whatever their code; all else passes.
fn of_every_type() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in shapes(Kind::L2, Transport::Udp) {
        let ipv6 = shape.vip.is_ipv6();
        let errors: [u8; 4] = if ipv6 { [1, 2, 3, 4] } else { [3, 4, 11, 12] };
        let start = ETHERNET + if ipv6 { 40 } else { 20 };
        for kind in [0, 1, 2, 3, 4, 5, 9, 11, 12, 13, 127, 128, 129, 133, 135, 137, 255] {
            for code in [0, 3, 4] {
                let mut frame = icmp::error(router(&shape), &shape, Complaint::Unreachable, 8);
                frame[start..start + 2].copy_from_slice(&[kind, code]);
                let name = format!("type {kind} code {code}");
                cases.push(if errors.contains(&kind) {
                    Case::sent_as(name, frame, &shape, Kind::L2)
                } else {
                    Case::unchanged(name, frame, Verdict::NotTransport)
                });
            }
        }
    }
    cases
}

/// Quotes that are cut before the ports, of packets of others, or of no flow; and echo requests.
fn of_others() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [0, 1] {
        let vip = VIPS[family];
        let shape = Shape::udp(CLIENTS[family], &at(vip, Kind::L2.port()));
        for quoted in [0, 1, 3] {
            let frame = icmp::error(router(&shape), &shape, Complaint::Unreachable, quoted);
            let name = format!("{quoted} bytes quoted");
            cases.push(Case::unchanged(name, frame, Verdict::NotTransport));
        }
        let other = Shape::udp(CLIENTS[family], &at(vip, 9));
        let frame = icmp::error(router(&other), &other, Complaint::Unreachable, 8);
        cases.push(Case::unchanged("of a port without a service", frame, Verdict::NotService));
        // What the service's host is said to have sent came from another address.
        let mut lie = icmp::error(router(&shape), &shape, Complaint::Unreachable, 8);
        let source = ETHERNET + [20 + 8 + 15, 40 + 8 + 23][family];
        lie[source] ^= 1;
        cases.push(Case::unchanged("quotes another's packet", lie, Verdict::NotTransport));
        let ping = icmp::echo_request(shape.client, shape.vip.ip(), b"are you there?");
        cases.push(Case::unchanged("an echo request", ping, Verdict::NotTransport));
    }
    cases
}

#[test]
fn errors_reach_the_backend_of_the_flow_that_they_quote() {
    check(&mut fixture::balancer(), &cases());
}
