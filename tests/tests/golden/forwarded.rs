//! Packets that reach their backend.

use lb_common::Verdict;
use lb_tests::packets::{
    ETHERNET, Segment, Shape, Transport,
    fixture::{self, EVERY_PORT_VIPS, Kind, OTHER_INTERFACE, VIPS},
};

use crate::{Case, check};

/// The client of each family, in the order of the services' addresses.
pub(crate) const CLIENTS: [&str; 2] = ["198.51.100.7:40000", "[2001:db8::7]:40000"];

const TRANSPORTS: [Transport; 7] = [
    Transport::Tcp(Segment::Syn),
    Transport::Tcp(Segment::SynAck),
    Transport::Tcp(Segment::Ack),
    Transport::Tcp(Segment::Fin),
    Transport::Tcp(Segment::Reset),
    Transport::Udp,
    Transport::UdpWithoutChecksum,
];
pub(crate) const KINDS: [Kind; 6] =
    [Kind::L2, Kind::OverIpv4, Kind::OverIpv6, Kind::Gue, Kind::GueOverIpv6, Kind::OtherInterface];

/// The flow label of the clients' flows to services with IPv6 backends, or that GUE's port has a
/// part of.
///
/// Recorded, from a calculation apart from the packet core's: the label is a part of the flow's
/// hash, on which all load balancers of a group agree. Who changes the hash sends every flow of
/// every group elsewhere.
pub(crate) fn flow_label(shape: &Shape) -> u32 {
    const OVER_IPV6: u16 = Kind::OverIpv6.port();
    const SMALL_MTU_IPV6: u16 = Kind::SmallMtuIpv6.port();
    const GUE: u16 = Kind::Gue.port();
    const GUE_OVER_IPV6: u16 = Kind::GueOverIpv6.port();
    const SMALL_MTU_GUE: u16 = Kind::SmallMtuGue.port();

    let is_tcp = matches!(shape.transport, Transport::Tcp(_));
    match (shape.vip.port(), shape.vip.is_ipv6(), is_tcp) {
        (OVER_IPV6, false, true) => 0x9_0909,
        (OVER_IPV6, false, false) => 0x0_eae3,
        (OVER_IPV6, true, true) => 0xb_15a6,
        (OVER_IPV6, true, false) => 0xc_af63,
        (SMALL_MTU_IPV6, false, true) => 0xe_11d8,
        (SMALL_MTU_IPV6, false, false) => 0x0_56dc,
        (SMALL_MTU_IPV6, true, true) => 0xf_fbdf,
        (SMALL_MTU_IPV6, true, false) => 0xd_97d9,
        (GUE, false, true) => 0x3_7388,
        (GUE, false, false) => 0x5_1c55,
        (GUE, true, true) => 0x3_c097,
        (GUE, true, false) => 0xe_7267,
        (GUE_OVER_IPV6, false, true) => 0xc_f72a,
        (GUE_OVER_IPV6, false, false) => 0xd_e2ff,
        (GUE_OVER_IPV6, true, true) => 0xa_5a1e,
        (GUE_OVER_IPV6, true, false) => 0x6_f40c,
        (SMALL_MTU_GUE, false, true) => 0x3_50b3,
        (SMALL_MTU_GUE, false, false) => 0xb_27dc,
        (SMALL_MTU_GUE, true, true) => 0x5_6b4e,
        (SMALL_MTU_GUE, true, false) => 0xd_741b,
        // IPv4 has none.
        _ => 0,
    }
}

/// A packet of each family to a service of this kind.
pub(crate) fn shapes(kind: Kind, transport: Transport) -> [Shape; 2] {
    [0, 1].map(|family| Shape::new(CLIENTS[family], &at(VIPS[family], kind.port()), transport))
}

/// An address with a port, as both families write it.
pub(crate) fn at(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Every case of a packet that is sent on.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in TRANSPORTS {
            for shape in shapes(kind, transport) {
                cases.push(Case::sent(format!("{kind:?} {shape:?}"), &shape, kind));
            }
        }
        cases.extend(with_options(kind));
        cases.extend(of_every_length(kind));
    }
    cases.extend(to_every_port());
    cases.push(with_the_reserved_flag());
    cases
}

/// NOP, router alert (RFC 2113) and record route, filled up with NOPs to every header length.
fn with_options(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for words in 1..=10 {
        for start in [&[][..], &[0x94, 4, 0, 0], &[7, 3, 4]] {
            for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
                let [mut shape, _] = shapes(kind, transport);
                shape.options = vec![1; words * 4];
                shape.options[..start.len()].copy_from_slice(start);
                cases.push(Case::sent(format!("{kind:?} {shape:?}"), &shape, kind));
            }
        }
    }
    cases
}

/// Without payload, with an odd one, and with bytes behind the packet.
fn of_every_length(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for (payload, trailer) in [(0, 0), (0, 6), (1, 5), (7, 1), (333, 0), (333, 64)] {
        for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
            for mut shape in shapes(kind, transport) {
                shape.payload = vec![0x5a; payload];
                shape.trailer = vec![0xa5; trailer];
                cases.push(Case::sent(format!("{kind:?} {shape:?}"), &shape, kind));
            }
        }
    }
    cases
}

fn to_every_port() -> Vec<Case> {
    let mut cases = Vec::new();
    for port in [1, 80, 65_535] {
        for (client, vip) in CLIENTS.iter().zip(EVERY_PORT_VIPS) {
            let shape = Shape::tcp(client, &at(vip, port), Segment::Syn);
            cases.push(Case::sent(format!("every port {shape:?}"), &shape, Kind::L2));
        }
    }
    cases
}

/// The bit before don't-fragment means nothing (RFC 791), least of all "fragment".
fn with_the_reserved_flag() -> Case {
    let [shape, _] = shapes(Kind::L2, Transport::Udp);
    let mut case = Case::sent("reserved flag", &shape, Kind::L2);
    for bytes in [&mut case.frame, &mut case.expected.bytes] {
        bytes[ETHERNET + 6] |= 0x80;
    }
    case
}

#[test]
fn packets_for_services_reach_their_backend() {
    check(&mut fixture::balancer(), &cases());
}

#[test]
fn every_dscp_and_ecn_is_copied_to_the_outer_header() {
    let mut balancer = fixture::balancer();
    for kind in [Kind::OverIpv4, Kind::OverIpv6] {
        for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
            for shape in shapes(kind, transport) {
                let cases: Vec<Case> = (0..=255)
                    .map(|traffic_class| {
                        let shape = Shape { traffic_class, ..shape.clone() };
                        Case::sent(format!("{kind:?} {traffic_class:#x}"), &shape, kind)
                    })
                    .collect();
                check(&mut balancer, &cases);
            }
        }
    }
}

#[test]
fn a_redirect_names_the_interface_of_the_next_hop() {
    let mut balancer = fixture::balancer();
    let [shape, _] = shapes(Kind::OtherInterface, Transport::Udp);
    let outcome = balancer.agree(&shape.frame());
    assert_eq!(outcome.verdict, Verdict::Redirected);
    assert_eq!(balancer.egress(), Some(OTHER_INTERFACE));
}
