mod leftovers;
mod schedulers;
mod signals;

use super::*;
use crate::{
    backend::{Backend, Link, NextHop},
    balance,
    forward::Forward,
    host::{HostFrame, HostTables, Translations},
    policy::{Policy, flag},
    service::{AddressEntry, ICMP, ICMPV6, UDP},
    settings::feature,
    slot::Slot,
    testing::{
        self, ACK, INGRESS, SYN, add_address, add_service, address, frame, icmp, key, next_hop,
        sealed, udp, under, with_piece, with_tags,
    },
};

const FIN: u8 = 1;
/// Hardware addresses of frames that the client's router sends, and of those that go back to it.
const FROM_CLIENT: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
const TO_CLIENT: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const TO_BACKEND: [u8; 12] = [2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4];
/// The port of backends.
const OTHER: u16 = 8080;

/// Addresses of one family.
#[derive(Clone, Copy)]
struct Family {
    client: &'static str,
    vip: &'static str,
    ours: &'static str,
    backend: &'static str,
    ping: u8,
}

const IPV4: Family = Family {
    client: "198.51.100.7",
    vip: "10.200.0.1",
    ours: "10.1.255.1",
    backend: "10.1.0.1",
    ping: ICMP,
};
const IPV6: Family = Family {
    client: "2001:db8:7::9",
    vip: "fd00:200::1",
    ours: "fd00:1::ff:1",
    backend: "fd00:1::1",
    ping: ICMPV6,
};

/// A TCP service at port 80, a UDP service at port 53, and pings to it. Ports from 5,000 on.
fn serving(family: Family, ports: u16) -> HostTables {
    let mut tables = testing::tables();
    let entry = |generation| {
        let [to, from] = [family.backend, family.ours].map(|text| address(text).into());
        let backend = Backend::new(0, generation, Forward::Nat, to, from).at_port(OTHER);
        backend.set_next_hop(next_hop());
        backend
    };
    tables.backends[1] = entry(1);
    tables.backends[2] = entry(1);
    for (key, id) in [(key(family.vip, 80, TCP), 1), (key(family.vip, 53, UDP), 2)] {
        let places = crate::hash::places(key.hash(&tables.settings.hash_key), 7);
        let first = &tables.services[places[0] as usize];
        let place = usize::from(first.table().is_present());
        add_service(&mut tables, key, place, id, Slot::settled(1));
    }
    let mut policy = Policy::NONE;
    policy.flags = flag::NAT;
    policy.nat_ports = 5000 | u32::from(5000 + ports - 1) << 16;
    under(&mut tables, 1, policy);
    let pings = AddressEntry::KNOWN.with_default(53, UDP);
    add_address(&mut tables, key(family.vip, 0, family.ping), pings);
    tables.settings.features = feature::NAT;
    tables.translations = Translations::new(1000);
    tables
}

fn run(tables: &HostTables, bytes: &[u8]) -> (Verdict, Vec<u8>) {
    let mut frame = HostFrame::new(bytes);
    let verdict = balance(&mut frame, tables);
    if verdict.action() == crate::Action::Pass {
        assert_eq!(frame.bytes(), bytes, "{verdict:?}");
    }
    (verdict, frame.bytes().to_vec())
}

#[track_caller]
fn sent(tables: &HostTables, bytes: &[u8]) -> Vec<u8> {
    let (verdict, bytes) = run(tables, bytes);
    assert_eq!(verdict, Verdict::Transmitted);
    bytes
}

/// A sealed frame as it is after a hop.
fn hopped(bytes: &[u8], link: [u8; 12]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[..12].copy_from_slice(&link);
    let hop_limit = if bytes[12] == 8 { 22 } else { 21 };
    bytes[hop_limit] -= 1;
    sealed(&bytes)
}

fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    [testing::tcp(from, to, flags), b"data".to_vec()].concat()
}

/// A frame from the client to the service.
fn asked(family: Family, protocol: u8, transport: &[u8]) -> Vec<u8> {
    sealed(&frame(family.client, family.vip, protocol, transport))
}

/// A frame from the backend to us.
fn answered(family: Family, protocol: u8, transport: &[u8]) -> Vec<u8> {
    sealed(&frame(family.backend, family.ours, protocol, transport))
}

fn source_port(bytes: &[u8]) -> u16 {
    let at = if bytes[12] == 8 { 34 } else { 54 };
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// Begins a TCP flow of a client's port and returns the port that the backend sees.
#[track_caller]
fn begun(tables: &HostTables, family: Family, port: u16) -> u16 {
    source_port(&sent(tables, &asked(family, TCP, &tcp(port, 80, SYN))))
}

#[test]
fn both_directions_are_translated() {
    for family in [IPV4, IPV6] {
        let tables = serving(family, 1);
        for (protocol, there, back) in [
            (
                TCP,
                [tcp(4000, 80, SYN), tcp(5000, OTHER, SYN)],
                [tcp(OTHER, 5000, SYN | ACK), tcp(80, 4000, SYN | ACK)],
            ),
            (
                UDP,
                [udp(4000, 53, b"odd"), udp(5000, OTHER, b"odd")],
                [udp(OTHER, 5000, b"even"), udp(53, 4000, b"even")],
            ),
        ] {
            let request = sent(&tables, &asked(family, protocol, &there[0]));
            let expected = frame(family.ours, family.backend, protocol, &there[1]);
            assert_eq!(request, hopped(&expected, TO_BACKEND), "{protocol}");
            let answer = sent(&tables, &answered(family, protocol, &back[0]));
            let expected = frame(family.vip, family.client, protocol, &back[1]);
            assert_eq!(answer, hopped(&expected, TO_CLIENT), "{protocol}");
        }
    }
}

#[test]
fn pings_are_translated_by_their_identifier() {
    for (family, types) in [(IPV4, [8, 0]), (IPV6, [128, 129])] {
        let tables = serving(family, 1);
        let ping = |kind, id: u16| {
            let [high, low] = id.to_be_bytes();
            icmp(kind, 0, [high, low, 0, 1], b"ping!")
        };
        let request = sent(&tables, &asked(family, family.ping, &ping(types[0], 77)));
        let expected = frame(family.ours, family.backend, family.ping, &ping(types[0], 5000));
        assert_eq!(request, hopped(&expected, TO_BACKEND));
        let answer = sent(&tables, &answered(family, family.ping, &ping(types[1], 5000)));
        let expected = frame(family.vip, family.client, family.ping, &ping(types[1], 77));
        assert_eq!(answer, hopped(&expected, TO_CLIENT));
        let own = answered(family, family.ping, &ping(types[1], 5001));
        assert_eq!(run(&tables, &own).0, Verdict::NotTransport);
    }
}

#[test]
fn a_known_flow_keeps_its_port_and_is_counted() {
    let tables = serving(IPV4, 100);
    let port = begun(&tables, IPV4, 4000);
    let other = begun(&tables, IPV4, 4001);
    assert_ne!(port, other);
    for flags in [ACK, SYN, ACK | FIN] {
        let request = sent(&tables, &asked(IPV4, TCP, &tcp(4000, 80, flags)));
        assert_eq!(source_port(&request), port);
    }
    let counted = tables.service_counters[1].get();
    assert_eq!((counted.packets, counted.new_flows), (5, 3));
    assert_eq!(tables.translations.all().len(), 4);
}

#[test]
fn traffic_of_the_machine_itself_passes() {
    let tables = serving(IPV4, 100);
    let port = begun(&tables, IPV4, 4000);
    for bytes in [
        answered(IPV4, TCP, &tcp(OTHER, port + 1, ACK)),
        answered(IPV4, TCP, &tcp(OTHER + 1, port, ACK)),
        answered(IPV4, UDP, &udp(OTHER, port, b"")),
        frame("10.1.0.2", IPV4.ours, TCP, &tcp(OTHER, port, ACK)),
    ] {
        assert_eq!(run(&tables, &bytes).0, Verdict::NotService);
    }
    let mut without = serving(IPV4, 100);
    without.settings.features = 0;
    assert_eq!(run(&without, &answered(IPV4, TCP, &tcp(OTHER, port, ACK))).0, Verdict::NotService);
}

#[test]
fn a_connection_that_nobody_began_is_refused() {
    let tables = serving(IPV4, 100);
    assert_eq!(run(&tables, &asked(IPV4, TCP, &tcp(4000, 80, ACK))).0, Verdict::NatUnknownFlow);
    assert!(tables.translations.all().is_empty());
}

#[test]
fn every_port_of_a_small_range_is_used() {
    let tables = serving(IPV4, 7);
    let mut ports: Vec<u16> = (0..7).map(|client| begun(&tables, IPV4, 4000 + client)).collect();
    ports.sort_unstable();
    assert_eq!(ports, (5000..5007).collect::<Vec<_>>());
    let eighth = asked(IPV4, TCP, &tcp(4007, 80, SYN));
    assert_eq!(run(&tables, &eighth).0, Verdict::NatPortsExhausted);
    assert_eq!(tables.translations.all().len(), 14, "a refused flow leaves nothing");
}

#[test]
fn a_full_table_refuses_and_keeps_no_half_of_a_flow() {
    for capacity in [0, 1, 3] {
        let mut tables = serving(IPV4, 100);
        tables.translations = Translations::new(capacity);
        let frames = [4000, 4001].map(|port| asked(IPV4, TCP, &tcp(port, 80, SYN)));
        let verdicts = frames.map(|bytes| run(&tables, &bytes).0);
        assert_eq!(verdicts[1], Verdict::NatTableFull, "{capacity}");
        assert_eq!(tables.translations.all().len(), capacity / 2 * 2);
    }
}

#[test]
fn a_closed_connection_begins_anew_with_the_current_backend() {
    let closings: [&[(bool, u8)]; 3] =
        [&[(true, RST)], &[(false, RST)], &[(true, FIN | ACK), (false, FIN | ACK), (true, ACK)]];
    for closing in closings {
        let mut tables = serving(IPV4, 1);
        let port = begun(&tables, IPV4, 4000);
        (0..16).for_each(|index| tables.slots[1].set(index, Slot::settled(2)));
        begun(&tables, IPV4, 4000);
        assert_eq!(tables.backend_counters[1].get().packets, 2, "it is open still");
        for (is_client, flags) in closing {
            sent(
                &tables,
                &match is_client {
                    true => asked(IPV4, TCP, &tcp(4000, 80, *flags)),
                    false => answered(IPV4, TCP, &tcp(OTHER, port, *flags)),
                },
            );
        }
        begun(&tables, IPV4, 4000);
        assert_eq!(tables.backend_counters[2].get().packets, 1);
        assert_eq!(tables.translations.all().len(), 2);
        tables.translations.reclaim();
    }
}

#[test]
fn flows_of_a_backend_that_is_gone_end_or_begin_anew() {
    let tables = serving(IPV4, 100);
    begun(&tables, IPV4, 4000);
    let question = asked(IPV4, UDP, &udp(4000, 53, b"?"));
    sent(&tables, &question);
    tables.backends[1].forget_flows();
    assert_eq!(run(&tables, &asked(IPV4, TCP, &tcp(4000, 80, ACK))).0, Verdict::NoBackend);
    begun(&tables, IPV4, 4000);
    sent(&tables, &question);
    let all = tables.translations.all();
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|(_, entry)| entry.generation == 2));
}

#[test]
fn removing_a_flow_leaves_the_next_owner_of_its_port_alone() {
    let mut tables = serving(IPV4, 1);
    begun(&tables, IPV4, 4000);
    let entries = tables.translations.all();
    let of = |is_answer| entries.iter().find(|(tuple, _)| tuple.is_answer() == is_answer);
    let [(first, _), (answer, _)] = [false, true].map(|side| of(side).expect("both entries"));
    tables.translations.remove(answer);
    begun(&tables, IPV4, 4001);
    tables.backends[1].forget_flows();
    let again = asked(IPV4, TCP, &tcp(4000, 80, SYN));
    assert_eq!(run(&tables, &again).0, Verdict::NatPortsExhausted);
    assert!(tables.translations.get(first).is_none());
    assert_eq!(tables.translations.all().len(), 2, "the second flow's");
    tables.translations.reclaim();
}

#[test]
fn answers_follow_the_client_to_another_router() {
    let mut tables = serving(IPV4, 1);
    begun(&tables, IPV4, 4000);
    let mut moved = asked(IPV4, TCP, &tcp(4000, 80, ACK));
    moved[11] = 99;
    tables.ingress = 5;
    let (verdict, _) = run(&tables, &moved);
    assert_eq!((verdict, tables.egress.get()), (Verdict::Redirected, Some(INGRESS)));
    let answer = sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, 5000, ACK)));
    assert_eq!(answer[..12], [2, 0, 0, 0, 0, 99, 2, 0, 0, 0, 0, 2]);
}

#[test]
fn tags_stay_in_both_directions() {
    let tables = serving(IPV4, 1);
    let tags = [[0x88, 0xa8, 0x60, 1], [0x81, 0, 0, 2]];
    let request = sent(&tables, &with_tags(&asked(IPV4, TCP, &tcp(4000, 80, SYN)), &tags));
    let expected = frame(IPV4.ours, IPV4.backend, TCP, &tcp(5000, OTHER, SYN));
    assert_eq!(request, with_tags(&hopped(&expected, TO_BACKEND), &tags));
    let answer = answered(IPV4, TCP, &tcp(OTHER, 5000, ACK));
    let answer = sent(&tables, &with_tags(&answer, &tags));
    let expected = frame(IPV4.vip, IPV4.client, TCP, &tcp(80, 4000, ACK));
    assert_eq!(answer, with_tags(&hopped(&expected, TO_CLIENT), &tags));
}

#[test]
fn udp_without_checksum_stays_without() {
    let tables = serving(IPV4, 1);
    let without = |mut bytes: Vec<u8>| {
        bytes[40..42].fill(0);
        bytes
    };
    let request = sent(&tables, &without(asked(IPV4, UDP, &udp(4000, 53, b"?"))));
    let expected =
        hopped(&frame(IPV4.ours, IPV4.backend, UDP, &udp(5000, OTHER, b"?")), TO_BACKEND);
    assert_eq!(request, without(expected));
}

#[test]
fn all_fragments_of_a_datagram_are_translated() {
    let tables = serving(IPV4, 1);
    let whole = asked(IPV4, UDP, &udp(4000, 53, &[7; 24]));
    let mut first = with_piece(&whole[..whole.len() - 8], 9, 0x2000);
    first[16..18].copy_from_slice(&44_u16.to_be_bytes());
    let later = with_piece(&frame(IPV4.client, IPV4.vip, UDP, &[7; 8]), 9, 3);
    assert_eq!(run(&tables, &later).0, Verdict::Fragment);
    let sent_first = sent(&tables, &first);
    assert_eq!(source_port(&sent_first), 5000);
    let sent_later = sent(&tables, &later);
    assert_eq!((&sent_later[26..34], &sent_later[34..]), (&sent_first[26..34], &[7; 8][..]));

    let first = with_piece(&answered(IPV4, UDP, &udp(OTHER, 5000, &[7; 16])), 10, 0x2000);
    let later = with_piece(&frame(IPV4.backend, IPV4.ours, UDP, &[7; 8]), 10, 3);
    assert_eq!(run(&tables, &later).0, Verdict::Fragment);
    let [first, later] = [first, later].map(|bytes| sent(&tables, &bytes));
    let addresses = &frame(IPV4.vip, IPV4.client, UDP, &[])[26..34];
    assert_eq!((&first[26..34], source_port(&first)), (addresses, 53));
    assert_eq!((&later[26..34], &later[34..]), (addresses, &[7; 8][..]));
}

#[test]
fn errors_reach_both_sides_with_what_they_sent() {
    for (family, kind, router) in [(IPV4, 3, "192.0.2.1"), (IPV6, 1, "2001:db8:ffff::1")] {
        let tables = serving(family, 1);
        begun(&tables, family, 4000);
        let quote = |bytes: &[u8], length: usize| {
            let inner = &bytes[14..];
            icmp(kind, 1, [0; 4], &inner[..length.min(inner.len())])
        };
        let header = if family.ping == ICMP { 20 } else { 40 };
        for length in [header + 8, header + 20, 200] {
            // The client's side did not get what the service sent.
            let lost = sealed(&frame(family.vip, family.client, TCP, &tcp(80, 4000, ACK)));
            for from in [router, family.client] {
                let error = sealed(&frame(from, family.vip, family.ping, &quote(&lost, length)));
                let arrived = sent(&tables, &error);
                let seen = sealed(&frame(family.backend, family.ours, TCP, &tcp(OTHER, 5000, ACK)));
                let from = if from == router { router } else { family.ours };
                let expected = frame(from, family.backend, family.ping, &quote(&seen, length));
                assert_eq!(arrived, hopped(&expected, TO_BACKEND), "{length} {from}");
            }
            // The backend's side did not get what we sent.
            let lost = sealed(&frame(family.ours, family.backend, TCP, &tcp(5000, OTHER, ACK)));
            for from in [router, family.backend] {
                let error = sealed(&frame(from, family.ours, family.ping, &quote(&lost, length)));
                let arrived = sent(&tables, &error);
                let seen = sealed(&frame(family.client, family.vip, TCP, &tcp(4000, 80, ACK)));
                let from = if from == router { router } else { family.vip };
                let expected = frame(from, family.client, family.ping, &quote(&seen, length));
                assert_eq!(arrived, hopped(&expected, TO_CLIENT), "{length} {from}");
            }
        }
        let other = sealed(&frame(family.vip, family.client, TCP, &tcp(80, 4001, ACK)));
        let error = sealed(&frame(router, family.vip, family.ping, &quote(&other, 28)));
        if family.ping == ICMP {
            assert_eq!(run(&tables, &error).0, Verdict::NatUnknownFlow);
        }
    }
}

#[test]
fn errors_about_pings_and_datagrams_are_translated() {
    let tables = serving(IPV4, 1);
    sent(&tables, &asked(IPV4, ICMP, &icmp(8, 0, [0, 77, 0, 1], b"ping")));
    sent(&tables, &asked(IPV4, UDP, &udp(4000, 53, b"")));
    let about = |ping: bool, lost: [&str; 2], ports: [u16; 2]| {
        let [high, low] = (ports[0] | ports[1]).to_be_bytes();
        let kind = if lost[1] == IPV4.backend || lost[1] == IPV4.vip { 8 } else { 0 };
        match ping {
            true => {
                sealed(&frame(lost[0], lost[1], ICMP, &icmp(kind, 0, [high, low, 0, 1], b"ping")))
            }
            false => sealed(&frame(lost[0], lost[1], UDP, &udp(ports[0], ports[1], b""))),
        }
    };
    for (ping, port, service, other) in [(true, 77, 0, 0), (false, 4000, 53, OTHER)] {
        let lost = about(ping, [IPV4.ours, IPV4.backend], [5000, other]);
        let error = icmp(11, 0, [0; 4], &lost[14..]);
        let arrived = sent(&tables, &sealed(&frame("192.0.2.1", IPV4.ours, ICMP, &error)));
        let seen = about(ping, [IPV4.client, IPV4.vip], [port, service]);
        let error = icmp(11, 0, [0; 4], &seen[14..]);
        let expected = frame("192.0.2.1", IPV4.client, ICMP, &error);
        assert_eq!(arrived, hopped(&expected, TO_CLIENT), "{ping}");

        let lost = about(ping, [IPV4.vip, IPV4.client], [service, port]);
        let error = icmp(3, 3, [0; 4], &lost[14..]);
        let arrived = sent(&tables, &sealed(&frame("192.0.2.1", IPV4.vip, ICMP, &error)));
        let seen = about(ping, [IPV4.backend, IPV4.ours], [other, 5000]);
        let error = icmp(3, 3, [0; 4], &seen[14..]);
        let expected = frame("192.0.2.1", IPV4.backend, ICMP, &error);
        assert_eq!(arrived, hopped(&expected, TO_BACKEND), "{ping}");
    }
}

#[test]
fn hop_limits_end_in_both_directions() {
    let tables = serving(IPV4, 1);
    begun(&tables, IPV4, 4000);
    for mut bytes in
        [asked(IPV4, TCP, &tcp(4000, 80, ACK)), answered(IPV4, TCP, &tcp(OTHER, 5000, ACK))]
    {
        bytes[22] = 1;
        let (verdict, _) = run(&tables, &sealed(&bytes));
        assert!(matches!(verdict, Verdict::HopLimit | Verdict::HopLimitTold), "{verdict:?}");
    }
}

#[test]
fn a_backend_may_call_its_own_service() {
    let tables = serving(IPV4, 1);
    let call = sealed(&frame(IPV4.backend, IPV4.vip, TCP, &tcp(4000, 80, SYN)));
    let expected = frame(IPV4.ours, IPV4.backend, TCP, &tcp(5000, OTHER, SYN));
    assert_eq!(sent(&tables, &call), hopped(&expected, TO_BACKEND));
    let answer = sent(&tables, &answered(IPV4, TCP, &tcp(OTHER, 5000, SYN | ACK)));
    let expected = frame(IPV4.vip, IPV4.backend, TCP, &tcp(80, 4000, SYN | ACK));
    assert_eq!(answer, hopped(&expected, TO_CLIENT));
}

#[test]
fn damage_is_neither_sent_on_nor_hidden() {
    let tables = serving(IPV4, 1);
    begun(&tables, IPV4, 4000);
    let mut lying = answered(IPV4, TCP, &tcp(OTHER, 5000, ACK));
    lying[17] += 9;
    assert_eq!(run(&tables, &lying).0, Verdict::Malformed);
    let mut wrong = asked(IPV4, TCP, &tcp(4000, 80, ACK));
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let out = sent(&tables, &wrong);
    assert_ne!(testing::segment_sum(&out), 0xffff);
    assert_ne!(sealed(&out), out);
}

#[test]
fn a_backend_without_a_way_takes_no_port() {
    let tables = serving(IPV4, 1);
    let syn = asked(IPV4, TCP, &tcp(4000, 80, SYN));
    for (interface, verdict) in
        [(0, Verdict::NextHopUnknown), (crate::backend::HERE, Verdict::NoBackend)]
    {
        tables.backends[1].set_next_hop(NextHop { interface, ..next_hop() });
        assert_eq!(run(&tables, &syn).0, verdict);
    }
    assert!(tables.translations.all().is_empty());
    let link = Link { destination: [2, 0, 0, 0, 0, 8], ..next_hop().link };
    tables.backends[1].set_next_hop(NextHop { link, ..next_hop() });
    assert_eq!(sent(&tables, &syn)[..6], [2, 0, 0, 0, 0, 8]);
}

#[test]
fn frames_from_the_client_are_answered_to_where_they_came_from() {
    let bytes = asked(IPV4, TCP, &tcp(4000, 80, SYN));
    assert_eq!(bytes[..12], FROM_CLIENT);
    assert_eq!(link_back(&HostFrame::new(&bytes)), Some(TO_CLIENT));
}

/// The short way is one with the long one: it takes known flows, and makes the same of them.
#[test]
fn both_ways_come_to_the_same() {
    for family in [IPV4, IPV6] {
        let [short, long] = [(), ()].map(|()| {
            let mut tables = serving(family, 1);
            begun(&tables, family, 4000);
            sent(&tables, &asked(family, UDP, &udp(4000, 53, b"?")));
            tables.now += 1;
            tables
        });
        let known = [
            asked(family, TCP, &tcp(4000, 80, ACK)),
            asked(family, UDP, &udp(4000, 53, b"?")),
            answered(family, TCP, &tcp(OTHER, 5000, ACK)),
            answered(family, UDP, &udp(OTHER, 5000, b"!")),
            asked(family, TCP, &tcp(4000, 80, RST)),
        ];
        let others = [
            asked(family, TCP, &tcp(4000, 80, SYN)),
            asked(family, TCP, &tcp(4001, 80, ACK)),
            answered(family, TCP, &tcp(OTHER, 5001, ACK)),
        ];
        let all = known.iter().map(|bytes| (bytes, true));
        for (bytes, is_taken) in all.chain(others.iter().map(|bytes| (bytes, false))) {
            let (mut one, mut other) = (HostFrame::new(bytes), HostFrame::new(bytes));
            let verdict = super::short(&mut one, &short);
            assert_eq!(verdict.is_some(), is_taken);
            let verdict = verdict.unwrap_or_else(|| {
                assert_eq!(one.bytes(), &bytes[..]);
                crate::uncommon(&mut one, &short)
            });
            assert_eq!(crate::uncommon(&mut other, &long), verdict);
            assert_eq!(one.bytes(), other.bytes());
        }
        let changed = |tables: &HostTables| {
            let seen = tables.translations.all().into_iter();
            let seen = seen.map(|(tuple, entry)| (tuple, entry.state(), entry.seen()));
            let counted = [&tables.service_counters, &tables.backend_counters];
            let counted =
                counted.map(|all| all.iter().map(std::cell::Cell::get).collect::<Vec<_>>());
            (seen.collect::<Vec<_>>(), counted)
        };
        assert_eq!(changed(&short), changed(&long));
    }
}
