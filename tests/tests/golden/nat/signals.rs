//! What is counted of backends' health where answers pass by: each packet that says something, once.

use lb_userspace::datapath::signals::Signals;

use super::*;

const TCP_SYN: Transport = Transport::Tcp(Segment::Syn);
const NONE: Signals = Signals {
    syn_acks: 0,
    resets: 0,
    unreachables: 0,
    repeats: 0,
    handshakes: 0,
    handshake_micros: 0,
};

/// Who watches its backends, and has so many ports.
fn watching(ports: u16) -> Balancer {
    let nat_ports = Some((CHOSEN, CHOSEN + ports - 1));
    under(&DesiredPolicy { nat_ports, watches: true, ..DesiredPolicy::default() })
}

/// All that was counted, but for times.
fn counted(balancer: &Balancer) -> Signals {
    balancer.compare().expect("the same signals");
    let all = (0..LIMITS.backends as u16).map(|index| balancer.signals(index));
    Signals { handshakes: 0, handshake_micros: 0, ..all.sum() }
}

/// Packets of one flow: of its client, and of its backend (true).
fn go(
    balancer: &mut Balancer,
    side: &Side,
    client_port: u16,
    chosen: u16,
    way: &[(bool, Segment)],
) {
    for (is_answer, segment) in way {
        let transport = Transport::Tcp(*segment);
        let shapes = if *is_answer {
            side.answer(transport, client_port, chosen)
        } else {
            side.request(transport, client_port, chosen)
        };
        let sent = verdict(balancer, &shapes[0].frame());
        assert_eq!(sent, Verdict::Transmitted, "{segment:?}");
    }
}

#[test]
fn a_handshake_counts_once_and_nothing_that_follows_it() {
    for side in sides() {
        let mut balancer = watching(1);
        let way = [
            (false, Segment::Syn),
            (true, Segment::SynAck),
            (true, Segment::SynAck),
            (false, Segment::Ack),
            (true, Segment::Ack),
            (true, Segment::Reset),
            (false, Segment::Ack),
            (true, Segment::Fin),
        ];
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &way);
        // Under a tag it goes the long way.
        let [answer, _] = side.answer(Transport::Tcp(Segment::SynAck), CLIENT_PORT, CHOSEN);
        let sent = verdict(&mut balancer, &tagged(&answer.frame(), &[Tag::customer(7)]));
        assert_eq!(sent, Verdict::Transmitted);
        assert_eq!(counted(&balancer), Signals { syn_acks: 1, ..NONE });
    }
}

#[test]
fn a_refusal_counts_once_and_as_nothing_else() {
    for side in sides() {
        let mut balancer = watching(1);
        let way = [(false, Segment::Syn), (true, Segment::Reset), (true, Segment::Reset)];
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &way);
        assert_eq!(counted(&balancer), Signals { resets: 1, ..NONE });
        // The same client tries again, and finds somebody.
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &[way[0], (true, Segment::SynAck)]);
        assert_eq!(counted(&balancer), Signals { resets: 1, syn_acks: 1, ..NONE });
    }
}

#[test]
fn a_syn_that_comes_again_is_told_from_one_that_begins() {
    for side in sides() {
        let mut balancer = watching(1);
        let syn = (false, Segment::Syn);
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &[syn, syn, syn, (true, Segment::SynAck)]);
        assert_eq!(counted(&balancer), Signals { repeats: 2, syn_acks: 1, ..NONE });
        let times = (0..LIMITS.backends as u16).map(|index| balancer.signals(index).handshakes);
        assert_eq!(times.sum::<u64>(), 0, "to which of them it is the answer is not known");
        // Of a connection that is open it is no attempt to open it.
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &[(false, Segment::Ack), syn]);
        assert_eq!(counted(&balancer), Signals { repeats: 2, syn_acks: 1, ..NONE });
    }
}

#[test]
fn the_time_of_a_handshake_is_known() {
    for side in sides() {
        let mut balancer = watching(1000);
        let times = |balancer: &Balancer| -> Signals {
            (0..LIMITS.backends as u16).map(|index| balancer.signals(index)).sum()
        };
        // A machine that does something else for a second makes an answer late.
        for client_port in 4000..4000 + LIMITS.nat_flows as u16 {
            let [request, _] = side.request(TCP_SYN, client_port, 0);
            let bytes = balancer.agree(&request.frame()).bytes;
            let at = if bytes[12] == 8 { 34 } else { 54 };
            let chosen = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            // It waits for its answer as long as that takes.
            std::thread::sleep(std::time::Duration::from_millis(2));
            go(&mut balancer, &side, client_port, chosen, &[(true, Segment::SynAck)]);
            if times(&balancer).handshakes > 0 {
                break;
            }
        }
        let Signals { handshakes, handshake_micros, .. } = times(&balancer);
        assert_eq!(handshakes, 1);
        assert!((1980..1_080_000).contains(&handshake_micros), "{handshake_micros}");
    }
}

#[test]
fn only_destinations_that_are_not_reached_count() {
    for side in sides() {
        let mut balancer = watching(1);
        for (number, transport) in [TCP_SYN, Transport::Udp].into_iter().enumerate() {
            let there = side.request(transport, CLIENT_PORT, CHOSEN);
            let back = side.answer(transport, CLIENT_PORT, CHOSEN);
            let mut complain = |from, of: &Shape, complaint| {
                verdict(&mut balancer, &icmp::error(from, of, complaint, 8))
            };
            // Of a flow that nobody knows: whoever makes up an error has to know one.
            let forged = complain(side.router, &back[0], Complaint::Unreachable);
            assert_eq!(forged, Verdict::NotService);
            expect_there(&mut balancer, &there, "the flow's first");
            let before = 2 * number as u64;
            assert_eq!(counted(&balancer), Signals { unreachables: before, ..NONE });
            let mut complain = |from, of: &Shape, complaint| {
                let sent = verdict(&mut balancer, &icmp::error(from, of, complaint, 8));
                assert_eq!(sent, Verdict::Transmitted, "{complaint:?}");
            };
            complain(side.router, &back[0], Complaint::Unreachable);
            complain(side.backend, &back[0], Complaint::Unreachable);
            complain(side.router, &back[0], Complaint::TooBig(1280));
            complain(side.router, &back[0], Complaint::TimeExceeded);
            // What does not reach the client is no fault of the backend's.
            complain(side.router, &there[0], Complaint::Unreachable);
            assert_eq!(counted(&balancer), Signals { unreachables: before + 2, ..NONE });
        }
    }
}

#[test]
fn answers_of_nobodys_flow_and_of_datagrams_do_not_count() {
    for side in sides() {
        let mut balancer = watching(1);
        for segment in [Segment::SynAck, Segment::Reset] {
            let [answer, _] = side.answer(Transport::Tcp(segment), CLIENT_PORT, CHOSEN);
            assert_eq!(verdict(&mut balancer, &answer.frame()), Verdict::NotService);
        }
        expect_there(&mut balancer, &side.request(Transport::Udp, 4000, CHOSEN), "UDP");
        expect_back(&mut balancer, &side.answer(Transport::Udp, 4000, CHOSEN), "UDP");
        assert_eq!(counted(&balancer), NONE);
    }
}

#[test]
fn who_does_not_watch_counts_no_answers() {
    for side in sides() {
        let mut balancer = balancer(2);
        go(&mut balancer, &side, CLIENT_PORT, CHOSEN, &[(false, Segment::Syn)]);
        let [answer, _] = side.answer(Transport::Tcp(Segment::SynAck), CLIENT_PORT, CHOSEN);
        let [other, _] = side.answer(Transport::Tcp(Segment::SynAck), CLIENT_PORT, CHOSEN + 1);
        let sent = [answer, other].map(|shape| verdict(&mut balancer, &shape.frame()));
        assert!(sent.contains(&Verdict::Transmitted), "{sent:?}");
        assert_eq!(counted(&balancer), NONE);
    }
}

/// An index that somebody else has now counts nothing of the flows of before.
#[test]
fn answers_of_a_backend_that_left_do_not_count_as_another_ones() {
    let side = &sides()[0];
    let mut balancer = watching(1);
    go(&mut balancer, side, CLIENT_PORT, CHOSEN, &[(false, Segment::Syn)]);
    balancer.arrays().backends.iter().for_each(lb_common::Backend::forget_flows);
    go(&mut balancer, side, CLIENT_PORT, CHOSEN, &[(true, Segment::SynAck)]);
    assert_eq!(counted(&balancer), NONE);
}
