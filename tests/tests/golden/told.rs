//! Answers that the balancer gives itself, byte by byte as etherparse writes them.

use std::net::SocketAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, IpHeaders, IpNumber, Ipv4Header, Ipv6Header, PacketBuilder, TcpHeader,
};
use lb_common::Verdict;
use lb_tests::packets::{
    BALANCER_LINK, CLIENT_LINK, ETHERNET, Outcome, Segment, Shape, Tag, Transport,
    fixture::{self, EVERY_PORT_VIPS, Kind, SMALL_MTU},
    fragments,
    icmp::{self, Complaint},
};

use crate::{
    Case, check,
    forwarded::{CLIENTS, KINDS, at, shapes},
    hop_limits::limited,
    refused::{SMALL, without_dont_fragment},
};

/// Bytes that are quoted of a packet that has them.
const QUOTE: usize = 128;

/// Every case of a packet that is answered.
pub(crate) fn cases() -> Vec<Case> {
    [echoes(), too_big(), at_their_last_hop(), refusals()].into_iter().flatten().collect()
}

/// The IP header of an answer to a shape: its ends, the other way round.
fn ip(shape: &Shape) -> IpHeaders {
    match (shape.vip, shape.client) {
        (SocketAddr::V4(vip), SocketAddr::V4(client)) => {
            let (source, destination) = (vip.ip().octets(), client.ip().octets());
            let header = Ipv4Header::new(0, 64, IpNumber::TCP, source, destination);
            IpHeaders::Ipv4(header.expect("no payload is not too much"), Default::default())
        }
        (SocketAddr::V6(vip), SocketAddr::V6(client)) => {
            let (source, destination) = (vip.ip().octets(), client.ip().octets());
            let header = Ipv6Header { hop_limit: 64, source, destination, ..Default::default() };
            IpHeaders::Ipv6(header, Default::default())
        }
        (vip, client) => panic!("{vip} does not answer {client}"),
    }
}

/// An ICMP message to the client of a shape.
fn message(shape: &Shape, kind: [u8; 2], rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(BALANCER_LINK, CLIENT_LINK).ip(ip(shape));
    let ([type_u8, code_u8], bytes5to8) = (kind, rest);
    let mut frame = Vec::new();
    if shape.vip.is_ipv4() {
        let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
        builder.icmpv4(kind).write(&mut frame, payload)
    } else {
        let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
        builder.icmpv6(kind).write(&mut frame, payload)
    }
    .expect("a vector takes any packet");
    frame
}

/// A frame and the ICMP error that answers it, which quotes 128 bytes, or of a shorter packet the
/// IP header and 8 bytes.
fn error(
    name: String,
    shape: &Shape,
    frame: Vec<u8>,
    (kind, rest): ([u8; 2], [u8; 4]),
    verdict: Verdict,
) -> Case {
    let packet = &frame[ETHERNET..frame.len() - shape.trailer.len()];
    let shortest = if shape.vip.is_ipv4() { 28 } else { 48 };
    let quote = if packet.len() >= QUOTE { QUOTE } else { shortest };
    let answer = message(shape, kind, rest, &packet[..quote]);
    Case { trailer: shape.trailer.len(), ..answered(name, frame, answer, verdict) }
}

fn answered(name: impl Into<String>, frame: Vec<u8>, answer: Vec<u8>, verdict: Verdict) -> Case {
    let expected = Outcome::of(verdict, answer);
    Case { name: name.into(), frame, trailer: 0, expected }
}

fn echoes() -> Vec<Case> {
    let mut cases = Vec::new();
    for (client, vip) in CLIENTS.into_iter().zip(EVERY_PORT_VIPS) {
        for payload in [0, 1, 56, 333] {
            for id in [0, 1, 0x0800, 0xf7ff, 0xffff] {
                let mut shape = Shape::udp(client, &at(vip, 0));
                shape.client.set_port(id);
                let payload = vec![0xc3; payload];
                let request = icmp::echo_request(shape.client, shape.vip.ip(), &payload);
                let [high, low] = id.to_be_bytes();
                let kind = if shape.vip.is_ipv4() { 0 } else { 129 };
                let reply = message(&shape, [kind, 0], [high, low, 0, 1], &payload);
                let name = format!("echo {id:#x} of {} bytes", payload.len());
                cases.push(answered(name, request, reply, Verdict::EchoAnswered));
            }
        }
    }
    cases
}

/// RFC 1191 and RFC 4443: the MTU without the tunnel, of IPv6 never less than 1280.
fn too_big() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in SMALL {
        for transport in [Transport::Tcp(Segment::Ack), Transport::Udp] {
            for shape in shapes(kind, transport) {
                let shape = Shape { payload: vec![0x77; 1300], ..shape };
                let mtu = SMALL_MTU - kind.overhead() as u16;
                let (kinds, mtu) =
                    if shape.vip.is_ipv4() { ([3, 4], mtu) } else { ([2, 0], mtu.max(1280)) };
                let [high, low] = mtu.to_be_bytes();
                let told = (kinds, [0, 0, high, low]);
                let name = format!("{kind:?} {transport:?}");
                cases.push(error(name, &shape, shape.frame(), told, Verdict::TooBigTold));
            }
        }
    }
    cases
}

fn at_their_last_hop() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for transport in [Transport::Tcp(Segment::Syn), Transport::Udp] {
            for shape in shapes(kind, transport) {
                for (payload, trailer) in [(0, 6), (26, 0), (100, 0), (333, 64)] {
                    let (payload, trailer) = (vec![0x77; payload], vec![0; trailer]);
                    let shape = Shape { payload, trailer, ..shape.clone() };
                    let told = if shape.vip.is_ipv4() { [11, 0] } else { [3, 0] };
                    for limit in [0, 1] {
                        let name = format!("{kind:?} hop limit {limit}");
                        let frame = limited(&shape, limit);
                        let told = (told, [0; 4]);
                        cases.push(error(name, &shape, frame, told, Verdict::HopLimitTold));
                    }
                }
            }
        }
    }
    cases
}

fn refusals() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in shapes(Kind::Refusing, Transport::Udp) {
        let told = if shape.vip.is_ipv4() { [3, 3] } else { [1, 4] };
        let name = "a datagram refused".to_owned();
        cases.push(error(name, &shape, shape.frame(), (told, [0; 4]), Verdict::Refused));
    }
    for segment in [Segment::Syn, Segment::SynAck, Segment::Ack, Segment::Fin] {
        for shape in shapes(Kind::Refusing, Transport::Tcp(segment)) {
            let answer = reset(&shape, segment);
            let name = format!("{segment:?} refused");
            cases.push(answered(name, shape.frame(), answer, Verdict::Refused));
        }
    }
    for shape in shapes(Kind::Refusing, Transport::Tcp(Segment::Reset)) {
        cases.push(Case::unchanged("a reset", shape.frame(), Verdict::NoBackend));
    }
    cases
}

/// RFC 9293 section 3.10.7.1, for the numbers that [`Shape`] writes.
fn reset(shape: &Shape, segment: Segment) -> Vec<u8> {
    const SEQUENCE: u32 = 0x0102_0304;
    const ACKNOWLEDGMENT: u32 = 0x0506_0708;

    let mut tcp = TcpHeader::new(shape.vip.port(), shape.client.port(), 0, 0);
    tcp.rst = true;
    if segment == Segment::Syn {
        tcp.ack = true;
        tcp.acknowledgment_number = SEQUENCE + 1 + shape.payload.len() as u32;
    } else {
        tcp.sequence_number = ACKNOWLEDGMENT;
    }
    let builder = PacketBuilder::ethernet2(BALANCER_LINK, CLIENT_LINK).ip(ip(shape));
    let mut frame = Vec::new();
    builder.tcp_header(tcp).write(&mut frame, &[]).expect("a vector takes any packet");
    // Ethernet has no shorter frames; what is behind the packet is of the segment.
    let request = shape.frame();
    frame.extend_from_slice(&request[frame.len()..60.max(frame.len())]);
    frame
}

#[test]
fn answers_are_what_the_rfcs_say() {
    let mut balancer = fixture::balancer();
    balancer.set_replies_per_tick(u32::MAX);
    check(&mut balancer, &cases());
    let tags = [&[Tag::customer(5)][..], &[Tag::service(5), Tag::customer(6)]];
    for case in cases().iter().filter(|case| case.expected.bytes.len() > 60) {
        check(&mut balancer, &tags.map(|tags| case.tagged(tags)));
    }
}

/// What RFC 1122 section 3.2.2 and RFC 4443 section 2.4 forbid to answer.
#[test]
fn what_must_not_be_answered_is_dropped_in_silence() {
    let mut balancer = fixture::balancer();
    let silent = |name: &str, frame| Case::unchanged(name, frame, Verdict::NoBackend);
    for shape in shapes(Kind::Refusing, Transport::Udp) {
        let pieces = fragments(&shape.frame(), 24, 5);
        let first = error(
            "the first piece".to_owned(),
            &shape,
            pieces[0].clone(),
            (if shape.vip.is_ipv4() { [3, 3] } else { [1, 4] }, [0; 4]),
            Verdict::Refused,
        );
        if shape.vip.is_ipv4() {
            check(&mut balancer, &[first]);
        } else {
            // Its quote would end before the ports.
            check(&mut balancer, &[silent("the first piece", pieces[0].clone())]);
        }
        check(&mut balancer, &[silent("a later piece", pieces[1].clone())]);
        let router = if shape.vip.is_ipv4() {
            [203, 0, 113, 1].into()
        } else {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into()
        };
        let complaint = icmp::error(router, &shape, Complaint::Unreachable, 28);
        check(&mut balancer, &[silent("an ICMP error", complaint)]);
        let mut to_all = shape.frame();
        to_all[..6].fill(0xff);
        check(&mut balancer, &[silent("a link's broadcast", to_all)]);
    }
    for client in ["0.0.0.0:7", "127.0.0.1:7", "224.0.0.1:7", "255.255.255.255:7"] {
        let shape = Shape::udp(client, &at("10.200.0.1", Kind::Refusing.port()));
        check(&mut balancer, &[silent(client, shape.frame())]);
    }
    for client in ["[::]:7", "[::1]:7", "[ff02::1]:7"] {
        let shape = Shape::udp(client, &at("fd00:200::1", Kind::Refusing.port()));
        check(&mut balancer, &[silent(client, shape.frame())]);
    }
    let [shape, _] = shapes(Kind::SmallMtu, Transport::Udp);
    let shape = Shape { payload: vec![0; 1400], ..shape };
    let fragmentable = without_dont_fragment(shape.frame());
    check(&mut balancer, &[Case::unchanged("no DF", fragmentable, Verdict::TooBig)]);
}

#[test]
fn answers_have_a_budget_of_their_own() {
    const BUDGET: u32 = 6;

    let mut balancer = fixture::balancer();
    balancer.set_replies_per_tick(BUDGET);
    let [shape, _] = shapes(Kind::Refusing, Transport::Udp);
    let mut told = 0;
    for _ in 0..100 {
        match balancer.agree(&shape.frame()).verdict {
            Verdict::Refused => told += 1,
            verdict => assert_eq!(verdict, Verdict::ReplyLimited),
        }
    }
    // Half of it, or a tick of the clock has fallen into this test.
    assert!((BUDGET / 2..=BUDGET).contains(&told), "{told}");
    let [shape, _] = shapes(Kind::SmallMtu, Transport::Udp);
    let shape = Shape { payload: vec![0; 1400], ..shape };
    let verdict = balancer.agree(&shape.frame()).verdict;
    assert_eq!(verdict, Verdict::TooBigTold, "errors have the other half");
}
