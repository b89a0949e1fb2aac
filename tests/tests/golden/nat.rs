//! Translated flows, in both directions.

mod signals;

use std::net::{IpAddr, SocketAddr};

use lb_common::{Forward, Link, NextHop, Verdict, service};
use lb_tests::packets::{
    BALANCER_LINK, Balancer, CLIENT_LINK, INGRESS, LIMITS, Outcome, Segment, Shape, Tag, Transport,
    fixture::{self, VIPS},
    fragments, hopped,
    icmp::{self, Complaint},
    relinked, tagged,
};
use lb_userspace::datapath::{
    desired::{DesiredMember, DesiredPing, DesiredService, Route},
    policies::DesiredPolicy,
};

/// Addresses of one family.
struct Side {
    client: IpAddr,
    vip: IpAddr,
    ours: IpAddr,
    backend: IpAddr,
    router: IpAddr,
}

/// The port that the backend sees of the first flow; the service of a test may have more.
const CHOSEN: u16 = 5000;
/// The backends' port, which is not the service's.
const PORT: u16 = 8080;
const CLIENT_PORT: u16 = 40_000;
const TO_BACKEND: Link = Link { destination: [2, 0, 0, 0, 1, 1], source: BALANCER_LINK };
const TO_CLIENT: Link = Link { destination: CLIENT_LINK, source: BALANCER_LINK };

fn sides() -> [Side; 2] {
    let address = |text: &str| text.parse().expect("test address");
    [
        Side {
            client: address("198.51.100.7"),
            vip: address(VIPS[0]),
            ours: address("10.1.255.1"),
            backend: address("10.1.0.1"),
            router: address("203.0.113.1"),
        },
        Side {
            client: address("2001:db8::7"),
            vip: address(VIPS[1]),
            ours: address("fd00:1::ff:1"),
            backend: address("fd00:1::1"),
            router: address("2001:db8:ffff::1"),
        },
    ]
}

/// A balancer with a TCP service at port 80, and a UDP service at port 53 that takes pings, for
/// both families, with so many ports for translated flows.
fn balancer(ports: u16) -> Balancer {
    let nat_ports = Some((CHOSEN, CHOSEN + ports - 1));
    under(&DesiredPolicy { nat_ports, ..DesiredPolicy::default() })
}

/// The same under a policy.
fn under(policy: &DesiredPolicy) -> Balancer {
    let mut services = Vec::new();
    for side in sides() {
        for (port, protocol) in [(80, service::TCP), (53, service::UDP)] {
            let key = fixture::key(&side.vip.to_string(), port, protocol);
            let members = vec![DesiredMember { port: PORT, ..fixture::member(side.backend, 100) }];
            services.push(DesiredService {
                policy: policy.clone(),
                ping: (protocol == service::UDP).then_some(DesiredPing::Backend),
                ..DesiredService::plain(key, Forward::Nat, members)
            });
        }
    }
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    let next = NextHop { interface: INGRESS, mtu: 1500, vlan: 0, link: TO_BACKEND };
    let route = |_, address: &lb_common::Address| {
        let side = sides().into_iter().find(|side| side.backend == IpAddr::from(*address))?;
        Some(Route { source: side.ours.into(), next })
    };
    balancer.tables().commit(&services, route).all().expect("the tables are large enough");
    balancer
}

impl Side {
    /// What the client sends, and what the backend gets of it.
    fn request(&self, transport: Transport, client_port: u16, chosen: u16) -> [Shape; 2] {
        let port = if matches!(transport, Transport::Tcp(_)) { 80 } else { 53 };
        [
            shape((self.client, client_port), (self.vip, port), transport),
            shape((self.ours, chosen), (self.backend, PORT), transport),
        ]
    }

    /// What the backend sends, and what the client gets of it.
    fn answer(&self, transport: Transport, client_port: u16, chosen: u16) -> [Shape; 2] {
        let port = if matches!(transport, Transport::Tcp(_)) { 80 } else { 53 };
        [
            shape((self.backend, PORT), (self.ours, chosen), transport),
            shape((self.vip, port), (self.client, client_port), transport),
        ]
    }

    fn syn(&self, client_port: u16) -> Vec<u8> {
        self.request(Transport::Tcp(Segment::Syn), client_port, 0)[0].frame()
    }
}

fn shape(from: (IpAddr, u16), to: (IpAddr, u16), transport: Transport) -> Shape {
    let [from, to] = [from, to].map(|(address, port)| SocketAddr::new(address, port).to_string());
    Shape::new(&from, &to, transport)
}

/// A frame becomes another, a hop further.
#[track_caller]
fn expect(balancer: &mut Balancer, input: &[u8], output: &[u8], link: &Link, what: &str) {
    let expected = Outcome::of(Verdict::Transmitted, relinked(&hopped(output), link));
    let outcome = balancer.agree(input);
    assert!(outcome == expected, "{what}\noutcome  {outcome}\nexpected {expected}");
}

#[track_caller]
fn expect_there(balancer: &mut Balancer, [input, output]: &[Shape; 2], what: &str) {
    expect(balancer, &input.frame(), &output.frame(), &TO_BACKEND, what);
}

#[track_caller]
fn expect_back(balancer: &mut Balancer, [input, output]: &[Shape; 2], what: &str) {
    expect(balancer, &input.frame(), &output.frame(), &TO_CLIENT, what);
}

#[track_caller]
fn verdict(balancer: &mut Balancer, frame: &[u8]) -> Verdict {
    balancer.agree(frame).verdict
}

#[test]
fn a_connection_goes_there_and_back() {
    let mut balancer = balancer(1);
    for side in sides() {
        for (is_answer, segment) in [
            (false, Segment::Syn),
            (true, Segment::SynAck),
            (false, Segment::Ack),
            (true, Segment::Ack),
            (true, Segment::Fin),
            (false, Segment::Fin),
            (false, Segment::Reset),
        ] {
            let what = format!("{} {segment:?}", side.client);
            let transport = Transport::Tcp(segment);
            if is_answer {
                expect_back(&mut balancer, &side.answer(transport, CLIENT_PORT, CHOSEN), &what);
            } else {
                expect_there(&mut balancer, &side.request(transport, CLIENT_PORT, CHOSEN), &what);
            }
        }
    }
    balancer.compare().expect("the same translations");
}

#[test]
fn datagrams_go_there_and_back_with_and_without_checksum() {
    let mut balancer = balancer(1);
    for side in sides() {
        for transport in [Transport::Udp, Transport::UdpWithoutChecksum, Transport::Udp] {
            let what = format!("{} {transport:?}", side.client);
            expect_there(&mut balancer, &side.request(transport, CLIENT_PORT, CHOSEN), &what);
            expect_back(&mut balancer, &side.answer(transport, CLIENT_PORT, CHOSEN), &what);
        }
    }
    balancer.compare().expect("the same translations");
}

#[test]
fn pings_go_there_and_back() {
    let mut balancer = balancer(1);
    for side in sides() {
        let at = |address, id| SocketAddr::new(address, id);
        let there = [
            icmp::echo_request(at(side.client, 77), side.vip, b"ping!"),
            icmp::echo_request(at(side.ours, CHOSEN), side.backend, b"ping!"),
        ];
        let back = [
            icmp::echo_reply(side.backend, at(side.ours, CHOSEN), b"ping!"),
            icmp::echo_reply(side.vip, at(side.client, 77), b"ping!"),
        ];
        let own = icmp::echo_reply(side.backend, at(side.ours, CHOSEN + 1), b"ping!");
        assert_eq!(verdict(&mut balancer, &back[0]), Verdict::NotTransport);
        expect(&mut balancer, &there[0], &there[1], &TO_BACKEND, "request");
        expect(&mut balancer, &back[0], &back[1], &TO_CLIENT, "reply");
        assert_eq!(verdict(&mut balancer, &own), Verdict::NotTransport);
    }
    balancer.compare().expect("the same translations");
}

/// Answers come back under the tags of the backend, and clients get them so.
#[test]
fn a_backend_in_a_vlan_takes_what_comes_in_that_vlan() {
    const VLAN: u16 = 7;

    let mut balancer = balancer(1);
    for backend in &balancer.arrays().backends[..] {
        backend.set_next_hop(NextHop { vlan: VLAN, ..backend.next_hop() });
    }
    for side in sides() {
        let syn = side.request(Transport::Tcp(Segment::Syn), CLIENT_PORT, CHOSEN);
        let ack = side.request(Transport::Tcp(Segment::Ack), CLIENT_PORT, CHOSEN);
        let [came, leaves] = [0x6000 | VLAN, 0xe000 | VLAN].map(|control| [Tag::customer(control)]);
        for [came_in, sent] in [&syn, &ack] {
            for tags in [
                &[][..],
                &[Tag::customer(VLAN + 1)],
                &[Tag::service(VLAN)],
                &[Tag::customer(VLAN), Tag::customer(VLAN)],
            ] {
                let frame = tagged(&came_in.frame(), tags);
                assert_eq!(verdict(&mut balancer, &frame), Verdict::WrongVlan, "{tags:?}");
            }
            let [frame, sent] = [came_in, sent].map(|shape| tagged(&shape.frame(), &came));
            expect(&mut balancer, &frame, &sent, &TO_BACKEND, "there");
        }
        let [answer, sent] = side.answer(Transport::Tcp(Segment::SynAck), CLIENT_PORT, CHOSEN);
        let [frame, sent] = [answer, sent].map(|shape| tagged(&shape.frame(), &leaves));
        expect(&mut balancer, &frame, &sent, &TO_CLIENT, "back");
    }
    balancer.compare().expect("the same translations");
}

#[test]
fn what_belongs_to_no_flow_passes_or_is_dropped() {
    let mut balancer = balancer(10);
    for side in sides() {
        for segment in [Segment::Ack, Segment::SynAck, Segment::Fin, Segment::Reset] {
            let transport = Transport::Tcp(segment);
            let [request, _] = side.request(transport, CLIENT_PORT, CHOSEN);
            assert_eq!(verdict(&mut balancer, &request.frame()), Verdict::NatUnknownFlow);
            let [answer, _] = side.answer(transport, CLIENT_PORT, CHOSEN);
            let outcome = balancer.agree(&answer.frame());
            assert_eq!(outcome, Outcome::of(Verdict::NotService, answer.frame()));
        }
    }
}

#[test]
fn ports_are_used_to_the_last_and_the_table_to_its_end() {
    let side = &sides()[0];
    let mut few = balancer(3);
    let verdicts: Vec<_> = (0..4).map(|more| verdict(&mut few, &side.syn(4000 + more))).collect();
    let sent = Verdict::Transmitted;
    assert_eq!(verdicts, [sent, sent, sent, Verdict::NatPortsExhausted]);
    for more in 0..3 {
        assert_eq!(verdict(&mut few, &side.syn(4000 + more)), sent, "a SYN that comes again");
    }
    few.compare().expect("the same translations");

    let mut many = balancer(1000);
    let flows = LIMITS.nat_flows as u16;
    for more in 0..flows {
        assert_eq!(verdict(&mut many, &side.syn(4000 + more)), sent);
    }
    assert_eq!(verdict(&mut many, &side.syn(3999)), Verdict::NatTableFull);
    many.compare().expect("the same translations");
}

#[test]
fn flows_take_the_ports_of_those_that_are_over() {
    for side in sides() {
        let mut balancer = balancer(3);
        for more in 0..3 {
            assert_eq!(verdict(&mut balancer, &side.syn(4000 + more)), Verdict::Transmitted);
        }
        assert_eq!(verdict(&mut balancer, &side.syn(5000)), Verdict::NatPortsExhausted);
        // As if the time of all had gone by: nobody sweeps here.
        balancer.set_hz(0);
        for more in 0..30 {
            assert_eq!(verdict(&mut balancer, &side.syn(5000 + more)), Verdict::Transmitted);
        }
        balancer.set_hz(250);
        assert_eq!(verdict(&mut balancer, &side.syn(6000)), Verdict::NatPortsExhausted);
        balancer.compare().expect("the same translations");
    }
}

#[test]
fn a_flow_takes_the_place_of_one_that_is_over_in_a_full_table() {
    let side = &sides()[0];
    let flows = LIMITS.nat_flows as u16;
    let mut balancer = balancer(flows + 4);
    for more in 0..flows {
        assert_eq!(verdict(&mut balancer, &side.syn(4000 + more)), Verdict::Transmitted);
    }
    assert_eq!(verdict(&mut balancer, &side.syn(5000)), Verdict::NatTableFull);
    balancer.set_hz(0);
    assert_eq!(verdict(&mut balancer, &side.syn(5000)), Verdict::Transmitted);
    balancer.compare().expect("the same translations");
}

#[test]
fn a_port_is_free_again_once_its_client_reset() {
    let side = &sides()[1];
    let mut balancer = balancer(1);
    let syn = side.request(Transport::Tcp(Segment::Syn), CLIENT_PORT, CHOSEN);
    expect_there(&mut balancer, &syn, "SYN");
    let reset = side.request(Transport::Tcp(Segment::Reset), CLIENT_PORT, CHOSEN);
    expect_there(&mut balancer, &reset, "RST");
    expect_there(&mut balancer, &syn, "SYN again");
    balancer.compare().expect("the same translations");
}

#[test]
fn a_removed_backend_gets_nothing_more() {
    let side = &sides()[0];
    let mut balancer = balancer(10);
    assert_eq!(verdict(&mut balancer, &side.syn(CLIENT_PORT)), Verdict::Transmitted);
    balancer.tables().commit(&[], |_, _| None).all().expect("nothing fits");
    let key = fixture::key(VIPS[0], 80, service::TCP);
    let policy = DesiredPolicy { nat_ports: Some((1, 2)), ..DesiredPolicy::default() };
    let empty = DesiredService { policy, ..DesiredService::plain(key, Forward::Nat, Vec::new()) };
    balancer.tables().commit(&[empty], |_, _| None).all().expect("it fits");
    let epoch = balancer.tables().begin_grace();
    epoch.into_iter().for_each(|epoch| balancer.tables().reclaim(epoch));
    let [ack, _] = side.request(Transport::Tcp(Segment::Ack), CLIENT_PORT, CHOSEN);
    for frame in [ack.frame(), side.syn(CLIENT_PORT)] {
        assert_eq!(verdict(&mut balancer, &frame), Verdict::NoBackend);
    }
}

#[test]
fn fragments_follow_their_first_in_both_directions() {
    let mut balancer = balancer(1);
    for side in sides() {
        let there = side.request(Transport::Udp, CLIENT_PORT, CHOSEN);
        let back = side.answer(Transport::Udp, CLIENT_PORT, CHOSEN);
        // Addresses with services are known, those of backends are anybody's.
        let unmatched = [Verdict::FragmentUnmatched, Verdict::Fragment];
        let ways = [(there, TO_BACKEND, 9), (back, TO_CLIENT, 10)];
        for (([input, output], link, id), unmatched) in ways.into_iter().zip(unmatched) {
            let [input, output] = [input, output].map(|shape| fragments(&shape.frame(), 16, id));
            assert!(input.len() > 2);
            assert_eq!(verdict(&mut balancer, &input[1]), unmatched);
            for (input, output) in input.iter().zip(&output) {
                expect(&mut balancer, input, output, &link, &format!("{} {id}", side.client));
            }
        }
    }
    balancer.compare().expect("the same translations");
}

#[test]
fn errors_are_translated_with_what_they_quote() {
    let mut balancer = balancer(1);
    for side in sides() {
        for transport in [Transport::Tcp(Segment::Syn), Transport::Udp] {
            let there = side.request(transport, CLIENT_PORT, CHOSEN);
            let back = side.answer(transport, CLIENT_PORT, CHOSEN);
            let [early, _] = &there;
            let early = icmp::error(side.router, early, Complaint::Unreachable, 8);
            assert_eq!(verdict(&mut balancer, &early), Verdict::NatUnknownFlow);
            expect_there(&mut balancer, &there, "the flow's first");
            for complaint in [Complaint::Unreachable, Complaint::TooBig(1280)] {
                for quoted in [8, 20, 1000] {
                    for ([input, output], link) in [(&there, TO_BACKEND), (&back, TO_CLIENT)] {
                        let what = format!("{transport:?} {complaint:?} {quoted}");
                        let error =
                            |from, shape: &Shape| icmp::error(from, shape, complaint, quoted);
                        let routed = [error(side.router, input), error(side.router, output)];
                        expect(&mut balancer, &routed[0], &routed[1], &link, &what);
                        let hosts = [input.client.ip(), output.client.ip()];
                        let own = [error(hosts[0], input), error(hosts[1], output)];
                        expect(&mut balancer, &own[0], &own[1], &link, &what);
                    }
                }
            }
        }
    }
    balancer.compare().expect("the same translations");
}

#[test]
fn tags_stay_in_both_directions() {
    let mut balancer = balancer(1);
    let side = &sides()[0];
    let transport = Transport::Tcp(Segment::Syn);
    let there = side.request(transport, CLIENT_PORT, CHOSEN);
    let back = side.answer(transport, CLIENT_PORT, CHOSEN);
    for tags in [vec![Tag::customer(7)], vec![Tag::service(8), Tag::customer(9)]] {
        for ([input, output], link) in [(&there, TO_BACKEND), (&back, TO_CLIENT)] {
            let output = relinked(&hopped(&output.frame()), &link);
            let expected = Outcome::of(Verdict::Transmitted, tagged(&output, &tags));
            assert_eq!(balancer.agree(&tagged(&input.frame(), &tags)), expected);
        }
    }
}

#[test]
fn a_backend_may_call_the_service_that_it_is_part_of() {
    let mut balancer = balancer(1);
    for side in sides() {
        let side = Side { client: side.backend, ..side };
        let syn = Transport::Tcp(Segment::Syn);
        expect_there(&mut balancer, &side.request(syn, CLIENT_PORT, CHOSEN), "there");
        let syn_ack = Transport::Tcp(Segment::SynAck);
        expect_back(&mut balancer, &side.answer(syn_ack, CLIENT_PORT, CHOSEN), "back");
    }
}
