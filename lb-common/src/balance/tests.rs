//! Whom packets go to, by the tables.

mod agreement;
mod finding;
mod fragments;
mod hop_limits;
mod over;
mod policies;
mod schedulers;

use super::*;
use crate::{
    backend::{Backend, NextHop},
    counters::Counters,
    flow::{FlowSet, Remembered},
    host::{HostFrame, HostTables},
    service::{TCP, Table, UDP},
    testing::{self, ACK, INGRESS, SYN, add_service, frame, key, next_hop, tables, udp},
};

const CLIENT: &str = "198.51.100.7";
const VIP: &str = "10.200.0.1";
const DISPUTED: Slot = Slot { current: 2, previous: 1 };

fn serving(slot: Slot) -> HostTables {
    let mut tables = tables();
    add_service(&mut tables, key(VIP, 80, TCP), 0, 1, slot);
    add_service(&mut tables, key(VIP, 53, UDP), 0, 2, slot);
    tables
}

fn tcp_frame(client_port: u16, flags: u8) -> Vec<u8> {
    frame(CLIENT, VIP, TCP, &testing::tcp(client_port, 80, flags))
}

fn run(tables: &HostTables, bytes: &[u8]) -> Verdict {
    let mut frame = HostFrame::new(bytes);
    let verdict = balance(&mut frame, tables);
    if verdict.action() == crate::Action::Pass {
        assert_eq!(frame.bytes(), bytes, "{verdict:?}");
    }
    verdict
}

/// The backend whose counter a packet of a flow raises.
fn backend_of(tables: &HostTables, bytes: &[u8]) -> u16 {
    let packets = || tables.backend_counters.iter().map(|cell| cell.get().packets);
    let before: Vec<u64> = packets().collect();
    assert_eq!(run(tables, bytes), Verdict::Transmitted);
    let risen = packets().zip(before).position(|(after, before)| after > before);
    risen.expect("a backend was counted") as u16
}

#[test]
fn other_destinations_are_for_no_service() {
    let tables = serving(Slot::settled(1));
    for (vip, port, protocol) in [(VIP, 81, TCP), (VIP, 80, UDP), ("10.200.0.2", 80, TCP)] {
        let transport = match protocol {
            TCP => testing::tcp(1, port, SYN),
            _ => udp(1, port, &[]),
        };
        let bytes = frame(CLIENT, vip, protocol, &transport);
        assert_eq!(run(&tables, &bytes), Verdict::NotService);
    }
    assert_eq!(run(&tables, &[0; 13]), Verdict::NotIp);
}

#[test]
fn a_service_is_found_in_either_of_its_places() {
    for place in [0, 1] {
        let mut tables = tables();
        add_service(&mut tables, key(VIP, 80, TCP), place, 1, Slot::settled(1));
        assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::Transmitted);
    }
}

#[test]
fn a_service_in_another_place_is_not_found() {
    let tables = serving(Slot::settled(1));
    for service in &tables.services {
        service.publish(Table::default());
    }
    assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::NotService);
}

#[test]
fn an_exact_port_comes_before_every_port() {
    let mut tables = serving(Slot::settled(1));
    add_service(&mut tables, key(VIP, 0, TCP), 1, 3, Slot::settled(3));
    tables.settings.features = feature::EVERY_PORT;
    let other = frame(CLIENT, VIP, TCP, &testing::tcp(1, 8080, SYN));
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 1);
    assert_eq!(backend_of(&tables, &other), 3);
    tables.settings.features = 0;
    assert_eq!(run(&tables, &other), Verdict::NotService);
}

#[test]
fn flows_to_two_ports_of_one_service_are_two_flows() {
    let mut tables = tables();
    add_service(&mut tables, key(VIP, 0, TCP), 0, 1, DISPUTED);
    tables.settings.features = feature::EVERY_PORT;
    let to = |port, flags| frame(CLIENT, VIP, TCP, &testing::tcp(4000, port, flags));
    // One began before the change, the other begins now from the same client port.
    assert_eq!(backend_of(&tables, &to(80, ACK)), 1);
    assert_eq!(backend_of(&tables, &to(443, SYN)), 2);
    assert_eq!(backend_of(&tables, &to(80, ACK)), 1);
    assert_eq!(backend_of(&tables, &to(443, ACK)), 2);
}

#[test]
fn a_slot_or_a_service_without_backend_drops() {
    let tables = serving(Slot::settled(0));
    assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::NoBackend);
    let tables = serving(Slot::settled(999));
    assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::NoBackend);
    let tables = serving(Slot::settled(1));
    tables.services.iter().for_each(|service| service.publish(Table::empty()));
    assert_eq!(run(&tables, &tcp_frame(1, SYN)), Verdict::NoBackend);
    // Nothing is said about backends to what is no packet.
    let mut lying = tcp_frame(1, SYN);
    lying[17] -= 1;
    assert_eq!(run(&tables, &lying), Verdict::Malformed);
}

#[test]
fn the_next_hop_decides_on_interface_and_size() {
    let tables = serving(Slot::settled(1));
    let set = |interface, mtu| {
        tables.backends[1].set_next_hop(NextHop { interface, mtu, ..next_hop() });
    };
    let bytes = tcp_frame(1, ACK);
    for (interface, mtu, expected) in [
        (INGRESS, 40, Verdict::Transmitted),
        (INGRESS, 39, Verdict::TooBig),
        (9, 40, Verdict::Redirected),
        (0, 1500, Verdict::NextHopUnknown),
    ] {
        set(interface, mtu);
        tables.egress.set(None);
        assert_eq!(run(&tables, &bytes), expected);
        let egress = (expected == Verdict::Redirected).then_some(9);
        assert_eq!(tables.egress.get(), egress);
    }
}

#[test]
fn only_what_is_sent_is_counted() {
    let tables = serving(Slot::settled(1));
    run(&tables, &tcp_frame(1, SYN));
    run(&tables, &tcp_frame(1, ACK));
    let padded = [&tcp_frame(1, SYN | ACK)[..], &[0; 6]].concat();
    run(&tables, &padded);
    let expected = Counters { packets: 3, bytes: 120, new_flows: 1 };
    tables.backends[1].set_next_hop(NextHop::default());
    run(&tables, &tcp_frame(1, SYN));
    assert_eq!(tables.service_counters[1].get(), expected);
    assert_eq!(tables.backend_counters[1].get(), expected);
    assert_eq!(tables.service_counters[2].get(), Counters::default());
}

#[test]
fn an_undisputed_slot_remembers_nothing() {
    let tables = serving(Slot::settled(1));
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 1);
    assert!(tables.flows.iter().all(|set| set.iter().next().is_none()));
}

#[test]
fn new_flows_go_to_the_current_backend_and_old_ones_to_the_previous() {
    let tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 1);
    for _ in 0..3 {
        assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 2);
        assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 1);
    }
}

#[test]
fn a_remembered_flow_outlives_a_second_change() {
    let tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    for index in 0..16 {
        tables.slots[1].set(index, Slot { current: 3, previous: 1 });
    }
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(3, SYN)), 3);
}

#[test]
fn a_reused_tuple_begins_anew() {
    let tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 2);
}

#[test]
fn a_backend_that_was_removed_is_not_remembered() {
    let tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    tables.backends[2].forget_flows();
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 1);

    let mut tables = serving(DISPUTED);
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    tables.backends[2] = Backend::default();
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 1);
}

#[test]
fn without_budget_every_flow_goes_where_its_next_packets_will() {
    let mut tables = serving(DISPUTED);
    tables.settings.inserts_per_tick = 1;
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(2, SYN)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 1);
    // A repeated SYN of the flow that is remembered.
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 2);
    tables.now += 1;
    assert_eq!(backend_of(&tables, &tcp_frame(2, SYN)), 2);
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 2);
}

#[test]
fn without_a_flow_cache_every_flow_goes_to_the_previous_backend() {
    let mut tables = serving(DISPUTED);
    tables.flows.clear();
    assert_eq!(backend_of(&tables, &tcp_frame(1, SYN)), 1);
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 1);
}

#[test]
fn a_packet_renews_what_is_remembered() {
    let mut tables = serving(DISPUTED);
    run(&tables, &tcp_frame(1, SYN));
    tables.now = 200;
    assert_eq!(backend_of(&tables, &tcp_frame(1, ACK)), 2);
    let remembered: Vec<_> = tables.flows.iter().flat_map(FlowSet::iter).collect();
    assert!(matches!(remembered[..], [(_, Remembered { seen: 200, backend: 2, .. })]));
}

#[test]
fn udp_follows_the_table() {
    let tables = serving(DISPUTED);
    let bytes = frame(CLIENT, VIP, UDP, &udp(1, 53, b"?"));
    assert_eq!(backend_of(&tables, &bytes), 2);
    assert!(tables.flows.iter().all(|set| set.iter().next().is_none()));
}

#[test]
fn dropped_packets_of_disputed_slots_are_remembered_nowhere() {
    let tables = serving(DISPUTED);
    let mut lying = tcp_frame(1, SYN);
    lying[46] = 0;
    assert_eq!(run(&tables, &lying), Verdict::Malformed);
    assert!(tables.flows.iter().all(|set| set.iter().next().is_none()));
}
