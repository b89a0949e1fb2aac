//! What services ask for beyond the common way.

use super::*;
use crate::{
    backend::HERE,
    bucket::{Bucket, Rate, SourceBuckets},
    policy::{ServerIdLayout, ServerKey},
    service::{AddressEntry, ICMP},
    testing::{add_address, icmp, policy, under, words},
};

/// Services, all of which are under this policy.
fn with(policy: Policy, slot: Slot) -> HostTables {
    let mut tables = serving(slot);
    under(&mut tables, 1, policy);
    tables.buckets = (0..4).map(|_| Bucket::default()).collect();
    tables.source_buckets = vec![SourceBuckets::default()];
    tables
}

fn udp_frame(client_port: u16, payload: &[u8]) -> Vec<u8> {
    frame(CLIENT, VIP, UDP, &udp(client_port, 53, payload))
}

#[test]
fn the_longest_rule_decides_on_a_source() {
    let rules = vec![(words("198.51.0.0"), 16, false), (words("198.51.100.7"), 32, true)];
    let other = frame("198.51.100.8", VIP, TCP, &testing::tcp(1, 80, SYN));
    let stranger = frame("203.0.113.1", VIP, TCP, &testing::tcp(1, 80, SYN));
    for (flags, of_stranger) in [
        (flag::RULES, Verdict::Transmitted),
        (flag::RULES | flag::DENY_OTHERS, Verdict::SourceDenied),
        (0, Verdict::Transmitted),
    ] {
        let mut tables = with(policy(flags), Slot::settled(1));
        tables.rules.insert(1, rules.clone());
        assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::Transmitted);
        let of_other = if flags == 0 { Verdict::Transmitted } else { Verdict::SourceDenied };
        assert_eq!(run(&tables, &other), of_other);
        assert_eq!(run(&tables, &stranger), of_stranger);
    }
}

#[test]
fn limits_are_for_flows_that_begin() {
    let rate = Rate { per_jiffy: 0, burst: 2 };
    for (flags, verdict) in
        [(flag::LIMITED, Verdict::ServiceLimited), (flag::SOURCE_LIMITED, Verdict::SourceLimited)]
    {
        let mut policy = policy(flags);
        (policy.limit, policy.source_limit) = (rate, rate);
        let tables = with(policy, Slot::settled(1));
        for port in [1, 2] {
            assert_eq!(run(&tables, &tcp_frame(port, SYN)), Verdict::Transmitted);
        }
        assert_eq!(run(&tables, &tcp_frame(3, SYN)), verdict);
        assert_eq!(run(&tables, &tcp_frame(1, ACK)), Verdict::Transmitted);
        let other = frame("203.0.113.1", VIP, TCP, &testing::tcp(1, 80, SYN));
        let of_other = if flags == flag::LIMITED { verdict } else { Verdict::Transmitted };
        assert_eq!(run(&tables, &other), of_other);
    }
}

#[test]
fn a_udp_flow_is_remembered_until_it_is_silent() {
    let mut policy = policy(flag::REMEMBERED);
    policy.flow_timeout = 10;
    let mut tables = with(policy, Slot::settled(1));
    assert_eq!(backend_of(&tables, &udp_frame(1, &[])), 1);
    (0..16).for_each(|slot| tables.slots[2].set(slot, Slot::settled(3)));
    tables.now += 10;
    assert_eq!(backend_of(&tables, &udp_frame(1, &[])), 1);
    assert_eq!(backend_of(&tables, &udp_frame(2, &[])), 3);
    tables.now += 10;
    assert_eq!(backend_of(&tables, &udp_frame(1, &[])), 1, "the last packet counts");
    tables.now += 11;
    assert_eq!(backend_of(&tables, &udp_frame(1, &[])), 3);
}

#[test]
fn a_quic_packet_goes_to_the_server_that_it_names() {
    let mut policy = policy(flag::QUIC);
    policy.server_id = ServerIdLayout { offset: 1, length: 2 };
    let mut tables = with(policy, Slot::settled(1));
    tables.servers.insert(ServerKey { id: 0xabcd, policy: 1, length: 2 }, 5);
    (1..8).for_each(|id| tables.backends[id] = testing::backend_of(2));
    let short = |id: [u8; 2]| [&[0x43, 7], &id[..], &[0; 20]].concat();
    assert_eq!(backend_of(&tables, &udp_frame(1, &short([0xab, 0xcd]))), 5);
    assert_eq!(backend_of(&tables, &udp_frame(1, &short([0xab, 0xce]))), 1, "an unknown one");
    assert_eq!(backend_of(&tables, &udp_frame(1, &[0x43])), 1, "too short for one");
    // Whoever makes one up does not get to a backend of another service.
    tables.backends[5] = testing::backend_of(1);
    assert_eq!(backend_of(&tables, &udp_frame(1, &short([0xab, 0xcd]))), 1);
}

#[test]
fn by_address_all_flows_of_a_client_have_one_backend() {
    let backends = |flags| {
        let tables = with(policy(flags), Slot::settled(1));
        for slot in 0..16 {
            tables.slots[1].set(slot, Slot::settled(1 + (slot % 7) as u16));
        }
        let of_port = |port| backend_of(&tables, &tcp_frame(port, ACK));
        (1..50).map(of_port).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(backends(flag::BY_ADDRESS), 1);
    assert!(backends(0) > 3);
}

#[test]
fn packets_for_this_machine_pass_and_are_counted() {
    let tables = serving(Slot::settled(1));
    tables.backends[1].set_next_hop(NextHop { interface: HERE, mtu: 0, ..next_hop() });
    // Whatever the stack will think of its size and hop limit.
    let mut bytes = tcp_frame(1, SYN);
    bytes[22] = 1;
    assert_eq!(run(&tables, &bytes), Verdict::Delivered);
    assert_eq!(tables.backend_counters[1].get().packets, 1);
}

#[test]
fn an_error_reaches_the_backend_of_its_flow_and_is_not_remembered() {
    let tables = serving(DISPUTED);
    let error = |client_port| {
        let quote = frame(VIP, CLIENT, TCP, &testing::tcp(80, client_port, ACK));
        frame("203.0.113.1", VIP, ICMP, &icmp(3, 4, [0, 0, 5, 0], &quote[14..42]))
    };
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    assert_eq!(backend_of(&tables, &error(1)), 2);
    assert_eq!(backend_of(&tables, &error(2)), 1, "of a flow from before the change");
    let remembered: usize = tables.flows.iter().map(|set| set.iter().count()).sum();
    assert_eq!(remembered, 1);
}

#[test]
fn without_an_entry_echo_requests_pass() {
    let mut tables = serving(Slot::settled(1));
    let echo = frame(CLIENT, VIP, ICMP, &icmp(8, 0, [0; 4], &[]));
    assert_eq!(run(&tables, &echo), Verdict::NotTransport);
    add_address(&mut tables, key(VIP, 0, ICMP), AddressEntry::KNOWN);
    assert_eq!(run(&tables, &echo), Verdict::NotTransport);
}

/// One connection of a client must not take its others along when a slot changes hands.
#[test]
fn connections_of_a_client_are_told_apart_in_a_disputed_slot() {
    let tables = with(policy(flag::BY_ADDRESS), DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1111, ACK)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(2222, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(1111, ACK)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(2222, ACK)), 2);
}

/// Datagrams can be made up at will; flows of slots that change hands have their place still.
#[test]
fn remembered_datagrams_leave_room_for_connections() {
    let mut tables = serving(DISPUTED);
    let mut policy = policy(flag::REMEMBERED);
    policy.flow_timeout = 60;
    under(&mut tables, 2, policy);
    for port in 1..1000 {
        run(&tables, &udp_frame(port, b"x"));
    }
    let connections = tables.flows.len() as u16;
    for port in 1..=connections {
        run(&tables, &tcp_frame(port, SYN));
    }
    let remembered = tables.flows.iter().flat_map(FlowSet::iter);
    let begun = remembered.filter(|(_, flow)| flow.backend == DISPUTED.current).count();
    assert!(begun > usize::from(connections) / 2, "{begun} of {connections}");
}
