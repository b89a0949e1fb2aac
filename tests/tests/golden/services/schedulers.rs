//! Flows whose backend a scheduler chooses.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lb_common::{
    FlowSet, Forward,
    Verdict::NoBackend,
    flow::Remembered,
    policy::Scheduler,
    service::{TCP, UDP},
};
use lb_tests::packets::{Segment, Shape, fixture, fixture::key};
use lb_userspace::datapath::{
    desired::{DesiredMember, Flows},
    policies::DesiredUdp,
    schedulers::DesiredScheduler,
};

use super::{
    DesiredPolicy, DesiredService, FIFTH, FIRST, FOURTH, Kind, SECOND, Site, THIRD, leaving,
    parsed, service, with,
};

const VIP: &str = "10.200.0.1:80";
const ALL: [Kind; 5] = [FIRST, SECOND, THIRD, FOURTH, FIFTH];

/// A TCP service whose new flows are shared like this, with its backends' weights.
fn scheduled(choice: Scheduler, backends: &[(Kind, u32)]) -> DesiredService {
    let scheduler = DesiredScheduler {
        source_timeout: Duration::from_secs(600),
        ..DesiredScheduler::new(choice)
    };
    let source_prefix = (choice == Scheduler::Source).then_some(24);
    let policy = DesiredPolicy { scheduler, source_prefix, ..DesiredPolicy::default() };
    let mut service = with(policy, service(key("10.200.0.1", 80, TCP), &[]));
    service.members.extend(backends.iter().map(|(kind, weight)| DesiredMember {
        weight: *weight,
        ..fixture::member(kind.backend(), 100)
    }));
    // As the daemon has them.
    service.members.sort_by_key(|member| member.address);
    service
}

fn equal(choice: Scheduler, backends: &[Kind]) -> DesiredService {
    let backends: Vec<_> = backends.iter().map(|kind| (*kind, 100)).collect();
    scheduled(choice, &backends)
}

fn packet(client: u16, segment: Segment) -> Shape {
    Shape::tcp(&format!("198.51.100.7:{client}"), VIP, segment)
}

impl Site {
    /// Where a packet of a client goes.
    fn at(&mut self, client: u16, segment: Segment) -> Kind {
        self.fate_of(&packet(client, segment)).expect("somebody takes it")
    }

    /// Where so many new flows go. The cache is emptied between: it is small.
    fn begin(&mut self, flows: u16) -> Vec<Kind> {
        let begin = |client| {
            self.balancer.forget();
            self.at(client, Segment::Syn)
        };
        (1..=flows).map(begin).collect()
    }

    /// The backend's index, by which its load is known.
    fn index(&self, kind: Kind) -> u16 {
        let address = kind.backend().into();
        let backends = &self.balancer.arrays().backends;
        let index = backends
            .iter()
            .position(|entry| entry.forward().is_some() && entry.address() == address);
        index.expect("it is entered") as u16
    }

    fn flows(&self, kind: Kind) -> u32 {
        self.balancer.arrays().loads[usize::from(self.index(kind))].flows()
    }

    fn load(&self, kind: Kind, flows: u32, latency: u32) {
        self.balancer.load_backend(self.index(kind), flows, latency);
    }

    /// Makes all that is remembered older by so many ticks.
    fn age(&self, ticks: u16) {
        let sets = self.balancer.arrays().flows.iter();
        for (tag, flow) in sets.flat_map(FlowSet::iter).collect::<Vec<_>>() {
            let seen = flow.seen.wrapping_sub(ticks);
            self.balancer.remember(tag, Remembered { seen, ..flow });
        }
    }
}

fn counts(kinds: &[Kind]) -> BTreeMap<u16, usize> {
    kinds.iter().fold(BTreeMap::new(), |mut counts, kind| {
        *counts.entry(kind.port()).or_default() += 1;
        counts
    })
}

fn shares(expected: &[(Kind, usize)]) -> BTreeMap<u16, usize> {
    expected.iter().map(|(kind, count)| (kind.port(), *count)).collect()
}

#[test]
fn backends_take_turns() {
    let mut site = Site::new(&[equal(Scheduler::Rotate, &[FIRST, SECOND, THIRD])]);
    let expected = [FIRST, SECOND, THIRD, FIRST, SECOND, THIRD, FIRST];
    assert_eq!(site.begin(7), expected);
}

#[test]
fn heavy_backends_have_more_turns() {
    let mut site = Site::new(&[scheduled(Scheduler::Rotate, &[(FIRST, 1), (SECOND, 3)])]);
    let flows = site.begin(400);
    assert_eq!(counts(&flows), shares(&[(FIRST, 100), (SECOND, 300)]));
    for four in flows.chunks(4) {
        assert_eq!(counts(four), shares(&[(FIRST, 1), (SECOND, 3)]), "evenly");
    }
}

#[test]
fn any_backend_is_as_likely_as_its_weight_says() {
    let mut site = Site::new(&[scheduled(Scheduler::Random, &[(FIRST, 1), (SECOND, 3)])]);
    let counts = counts(&site.begin(2000));
    // 500 expected, and a deviation of 19: five of these.
    assert!(counts[&FIRST.port()].abs_diff(500) < 97, "{counts:?}");
}

#[test]
fn packets_of_a_flow_go_where_it_began() {
    for choice in [
        Scheduler::Rotate,
        Scheduler::Random,
        Scheduler::TwoChoices,
        Scheduler::LeastFlows,
        Scheduler::LeastTime,
        Scheduler::Source,
    ] {
        let mut site = Site::new(&[equal(choice, &[FIRST, SECOND, THIRD])]);
        let began = site.at(1, Segment::Syn);
        site.at(2, Segment::Syn);
        for segment in [Segment::Ack, Segment::Ack, Segment::Fin, Segment::Ack, Segment::Reset] {
            assert_eq!(site.at(1, segment), began, "{choice:?} {segment:?}");
        }
        let others: Vec<Kind> = ALL.into_iter().filter(|kind| *kind != began).collect();
        let mut changed = equal(choice, &others);
        changed.members.push(leaving(began, Flows::Keep));
        changed.members.sort_by_key(|member| member.address);
        site.change(&[changed]);
        assert_eq!(site.at(1, Segment::Ack), began, "{choice:?} keeps what it has");
        assert_ne!(site.at(1, Segment::Syn), began, "{choice:?} takes no new ones");
    }
}

#[test]
fn a_syn_that_comes_again_within_three_ticks_finds_its_backend() {
    let mut site = Site::new(&[equal(Scheduler::Rotate, &[FIRST, SECOND, THIRD])]);
    assert_eq!([(); 3].map(|()| site.at(1, Segment::Syn)), [FIRST; 3]);
    // Some time may pass between the packets.
    site.age(2);
    assert_eq!(site.at(1, Segment::Syn), FIRST);
    site.age(3);
    assert_eq!(site.at(1, Segment::Syn), SECOND, "another connection");
    assert_eq!(site.at(1, Segment::Ack), SECOND);
    assert_eq!(site.at(1, Segment::Syn), THIRD, "of one that has been answered");
}

#[test]
fn without_a_place_flows_go_by_their_slot() {
    let mut plain = Site::new(&[equal(Scheduler::Slot, &ALL)]);
    let by_slot: Vec<Kind> = (1..=20).map(|client| plain.at(client, Segment::Syn)).collect();
    let mut site = Site::new(&[equal(Scheduler::Rotate, &ALL)]);
    site.balancer.set_inserts_per_tick(0);
    for segment in [Segment::Syn, Segment::Ack, Segment::Syn] {
        let fates: Vec<Kind> = (1..=20).map(|client| site.at(client, segment)).collect();
        assert_eq!(fates, by_slot, "{segment:?}");
    }
    assert_eq!(site.balancer.remembered(), []);
}

#[test]
fn what_nobody_remembers_goes_by_its_slot() {
    let mut plain = Site::new(&[equal(Scheduler::Slot, &ALL)]);
    let mut site = Site::new(&[equal(Scheduler::LeastFlows, &ALL)]);
    for client in 1..=20 {
        assert_eq!(site.at(client, Segment::Ack), plain.at(client, Segment::Ack));
    }
    assert_eq!(site.balancer.remembered(), [], "and is not remembered for that");
}

#[test]
fn a_full_cache_gives_way_to_the_slots_and_drops_nothing() {
    let mut site = Site::new(&[equal(Scheduler::Rotate, &ALL)]);
    let began: Vec<Kind> = (1..=200).map(|client| site.at(client, Segment::Syn)).collect();
    assert!(site.balancer.remembered().len() <= 48, "three quarters of the places");
    let goes_on: Vec<Kind> = (1..=200).map(|client| site.at(client, Segment::Ack)).collect();
    assert_eq!(goes_on, began);
}

#[test]
fn the_backend_with_the_fewest_flows_gets_the_next() {
    let mut site = Site::new(&[equal(Scheduler::LeastFlows, &[FIRST, SECOND, THIRD])]);
    site.load(FIRST, 5, 0);
    site.load(THIRD, 3, 0);
    assert_eq!(site.begin(3), [SECOND; 3]);
    let next = site.begin(2);
    assert_eq!(counts(&next), shares(&[(SECOND, 1), (THIRD, 1)]), "as many as the other");
    assert_eq!([FIRST, SECOND, THIRD].map(|kind| site.flows(kind)), [5, 4, 4]);
}

#[test]
fn heavy_backends_have_more_flows() {
    let backends = [(FIRST, 1), (SECOND, 3)];
    let mut site = Site::new(&[scheduled(Scheduler::LeastFlows, &backends)]);
    let counted = counts(&site.begin(400));
    assert!(counted[&FIRST.port()].abs_diff(100) <= 1, "{counted:?}");
}

#[test]
fn a_flow_that_ends_counts_no_more() {
    let mut site = Site::new(&[equal(Scheduler::LeastFlows, &[FIRST])]);
    let count = |site: &Site| site.flows(FIRST);
    site.at(1, Segment::Syn);
    site.at(2, Segment::Syn);
    site.at(1, Segment::Syn);
    assert_eq!(count(&site), 2, "a SYN that comes again is the same flow's");
    site.at(1, Segment::Fin);
    site.at(1, Segment::Fin);
    site.at(1, Segment::Ack);
    assert_eq!(count(&site), 1);
    site.at(2, Segment::Reset);
    assert_eq!(count(&site), 0);
}

#[test]
fn the_last_of_a_long_list_is_compared_too() {
    let mut service = equal(Scheduler::LeastFlows, &[FIRST]);
    let others = (1..=40).map(|last| fixture::member(IpAddr::from([10, 1, 0, last]), 100));
    service.members.splice(0..0, others);
    let mut site = Site::new(&[service]);
    for index in 1..=41 {
        let is_first = index == site.index(FIRST);
        site.balancer.load_backend(index, if is_first { 1 } else { 2 }, 0);
    }
    assert_eq!(site.at(1, Segment::Syn), FIRST);
}

#[test]
fn of_two_backends_the_less_busy_one_gets_the_flow() {
    let mut site = Site::new(&[equal(Scheduler::TwoChoices, &[FIRST, SECOND, THIRD])]);
    site.load(FIRST, 10_000, 0);
    let counted = counts(&site.begin(900));
    // Only where both choices are it: one of nine.
    let busy = counted.get(&FIRST.port()).copied().unwrap_or_default();
    assert!(busy.abs_diff(100) < 50, "{counted:?}");
    let [second, third] = [SECOND, THIRD].map(|kind| site.flows(kind));
    assert!(second.abs_diff(third) < 20, "{second} and {third}");
}

#[test]
fn the_backend_that_answers_faster_gets_more_flows() {
    let mut site = Site::new(&[equal(Scheduler::LeastTime, &[FIRST, SECOND])]);
    site.load(FIRST, 0, 999);
    site.load(SECOND, 0, 9999);
    let counted = counts(&site.begin(110));
    assert_eq!(counted, shares(&[(FIRST, 100), (SECOND, 10)]));
}

#[test]
fn clients_keep_their_backend_while_it_takes_new_flows() {
    let mut site = Site::new(&[equal(Scheduler::Source, &[FIRST, SECOND])]);
    let begins = |site: &mut Site, client: &str| {
        // Few enough for half of the smallest of caches.
        let fates = (1..=3).map(|port| {
            site.fate_of(&Shape::tcp(&format!("{client}:{port}"), VIP, Segment::Syn))
                .expect("somebody takes it")
        });
        let fates: Vec<Kind> = fates.collect();
        assert_eq!(fates, [fates[0]; 3], "one client, one backend");
        fates[0]
    };
    let clients: Vec<String> = (1..=3).map(|net| format!("203.0.{net}.9")).collect();
    let before: Vec<Kind> = clients.iter().map(|client| begins(&mut site, client)).collect();
    let beside = begins(&mut site, "203.0.1.200");
    assert_eq!(beside, before[0], "a client of the same /24");

    site.change(&[equal(Scheduler::Source, &ALL)]);
    for (client, before) in clients.iter().zip(&before) {
        assert_eq!(begins(&mut site, client), *before, "newcomers get new clients only");
    }
    let mut drained = equal(Scheduler::Source, &[THIRD, FOURTH]);
    drained.members.extend([FIRST, SECOND].map(|kind| leaving(kind, Flows::Keep)));
    drained.members.sort_by_key(|member| member.address);
    site.change(&[drained]);
    for client in &clients {
        assert!([THIRD, FOURTH].contains(&begins(&mut site, client)), "{client}");
    }
}

#[test]
fn clients_that_are_forgotten_go_by_their_slot() {
    let mut site = Site::new(&[equal(Scheduler::Source, &[FIRST])]);
    assert_eq!(site.at(1, Segment::Syn), FIRST);
    site.change(&[equal(Scheduler::Source, &[FIRST, SECOND, THIRD, FOURTH, FIFTH])]);
    let mut plain = equal(Scheduler::Slot, &ALL);
    plain.policy.source_prefix = Some(24);
    let by_slot = Site::new(&[plain]).at(1, Segment::Syn);
    assert_eq!(site.at(2, Segment::Syn), FIRST, "it is remembered");
    // Longer than the timeout at any rate of the kernel's clock.
    site.age(5000);
    assert_eq!(site.at(3, Segment::Syn), by_slot);
}

#[test]
fn by_address_alone_all_connections_of_a_client_have_one_backend() {
    let mut service = equal(Scheduler::Slot, &ALL);
    service.policy.source_prefix = Some(24);
    let mut site = Site::new(&[service]);
    let mut of_client = |client: &str| {
        let shapes =
            (1..=20).map(|port| Shape::tcp(&format!("{client}:{port}"), VIP, Segment::Syn));
        let fates: Vec<_> = shapes.map(|shape| site.fate_of(&shape)).collect();
        assert!(fates.iter().all(|fate| *fate == fates[0]), "{client}");
        fates[0]
    };
    let reached: std::collections::BTreeSet<_> = (1..=40)
        .map(|net| {
            let fate = of_client(&format!("203.0.{net}.1"));
            assert_eq!(fate, of_client(&format!("203.0.{net}.254")), "the same /24");
            fate.expect("somebody takes it").port()
        })
        .collect();
    assert_eq!(reached.len(), ALL.len(), "clients share the backends");
    assert_eq!(site.balancer.remembered(), []);
}

#[test]
fn without_anybody_for_new_flows_those_that_are_there_go_on() {
    let mut site = Site::new(&[equal(Scheduler::Rotate, &[FIRST, SECOND])]);
    let began = site.at(1, Segment::Syn);
    let mut drained = equal(Scheduler::Rotate, &[]);
    drained.members.extend([FIRST, SECOND].map(|kind| leaving(kind, Flows::Keep)));
    site.change(&[drained]);
    assert_eq!(site.at(1, Segment::Ack), began);
    assert_eq!(site.fate_of(&packet(2, Segment::Syn)), Err(NoBackend));
}

#[test]
fn datagrams_of_a_flow_go_where_it_began() {
    let mut service = equal(Scheduler::Rotate, &[FIRST, SECOND, THIRD]);
    service.key = key("10.200.0.1", 53, UDP);
    service.policy.udp = DesiredUdp::Remember(Duration::from_secs(600));
    let mut site = Site::new(&[service]);
    let datagram = |port| Shape::udp(&format!("198.51.100.7:{port}"), "10.200.0.1:53");
    for round in 0..3 {
        let fates = [1, 2, 3, 4].map(|port| site.fate_of(&datagram(port)));
        assert_eq!(fates, [FIRST, SECOND, THIRD, FIRST].map(Ok), "round {round}");
    }
}

#[test]
fn translated_flows_take_turns_too() {
    let mut service = equal(Scheduler::Rotate, &[FIRST, SECOND]);
    service.forward = Forward::Nat;
    service.policy.nat_ports = Some((5000, 5999));
    let mut site = Site::new(&[service]);
    let destination = |site: &mut Site, client| {
        let outcome = site.balancer.agree(&packet(client, Segment::Syn).frame());
        IpAddr::from(<[u8; 4]>::try_from(&outcome.bytes[30..34]).expect("an IPv4 header"))
    };
    for round in 0..2 {
        for (client, kind) in [(1, FIRST), (2, SECOND)] {
            assert_eq!(destination(&mut site, client), kind.backend(), "round {round}");
        }
    }
    assert_eq!(site.balancer.remembered(), [], "they have entries of their own");
    assert_eq!(parsed("10.1.0.81"), FIRST.backend());
}
