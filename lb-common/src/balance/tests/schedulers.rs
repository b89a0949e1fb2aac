//! New flows under a scheduler: whom they go to, and that they stay there.

use super::*;
use crate::{
    backend::Stance,
    policy::Scheduler,
    remembered,
    testing::{policy, under},
};

/// TCP's FIN and RST flags.
const FIN: u8 = 1;
const RST: u8 = 4;

/// The service of [`serving`] with backend 7 in its slots and a scheduler that chooses from a list
/// of backends with their weights, which is in the last line of slots.
fn scheduled(scheduler: Scheduler, list: &[(u16, u16)]) -> HostTables {
    scheduled_over(Slot::settled(7), scheduler, list)
}

fn scheduled_over(slot: Slot, scheduler: Scheduler, list: &[(u16, u16)]) -> HostTables {
    let mut tables = serving(slot);
    let mut policy = policy(flag::REMEMBERED);
    policy.scheduler = scheduler as u16;
    policy.list = 48;
    policy.listed = if scheduler.compares() { list.len() } else { 4 } as u16;
    policy.flow_timeout = 60;
    under(&mut tables, 1, policy);
    for index in 0..16 {
        let (current, previous) = list[index % list.len()];
        tables.slots[3].set(index as u32, Slot { current, previous });
    }
    tables.flows = (0..1024).map(|_| FlowSet::default()).collect();
    tables.settings.flow_mask = 1023;
    tables.settings.features = feature::REMEMBERED;
    tables.settings.inserts_per_tick = 1000;
    tables
}

fn begin(tables: &HostTables, port: u16) -> u16 {
    backend_of(tables, &tcp_frame(port, SYN))
}

#[test]
fn turns_follow_the_list_and_flows_stay() {
    let tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1), (3, 1), (1, 1)]);
    let chosen: Vec<u16> = (1..=8).map(|port| begin(&tables, port)).collect();
    assert_eq!(chosen, [1, 2, 3, 1, 1, 2, 3, 1]);
    for _ in 0..2 {
        let later: Vec<u16> =
            (1..=8).map(|port| backend_of(&tables, &tcp_frame(port, ACK))).collect();
        assert_eq!(later, chosen);
    }
}

#[test]
fn chance_reaches_everybody() {
    for scheduler in [Scheduler::Random, Scheduler::TwoChoices] {
        let tables = scheduled(scheduler, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let mut seen = [0; 8];
        (1..=100).for_each(|port| seen[usize::from(begin(&tables, port))] += 1);
        assert!(seen[1..5].iter().all(|count| *count > 10), "{scheduler:?}: {seen:?}");
        assert_eq!(seen[5..], [0; 3]);
    }
}

#[test]
fn the_one_with_fewest_flows_for_its_weight_is_chosen() {
    let tables = scheduled(Scheduler::LeastFlows, &[(1, 100), (2, 100), (3, 200), (4, 0)]);
    let mut seen = [0; 8];
    (1..=40).for_each(|port| seen[usize::from(begin(&tables, port))] += 1);
    assert_eq!(seen[1..5], [10, 10, 20, 0]);
    assert_eq!([1, 2, 3].map(|id| tables.loads[id].flows()), [10, 10, 20]);
    // Those of the second end: it is the idle one now.
    let of_second = |port: &u16| backend_of(&tables, &tcp_frame(*port, ACK)) == 2;
    let ending: Vec<u16> = (1..=40).filter(of_second).collect();
    for (number, port) in ending.iter().enumerate() {
        let flags = if number % 2 == 0 { FIN | ACK } else { RST };
        (0..3).for_each(|_| assert_eq!(backend_of(&tables, &tcp_frame(*port, flags)), 2));
    }
    assert_eq!(tables.loads[2].flows(), 0);
    assert_eq!((50..55).map(|port| begin(&tables, port)).collect::<Vec<_>>(), [2; 5]);
}

#[test]
fn the_one_that_answers_soonest_is_chosen_until_it_has_more_to_do() {
    let tables = scheduled(Scheduler::LeastTime, &[(1, 1), (2, 1)]);
    tables.loads[1].answered(999);
    tables.loads[2].answered(3999);
    let mut seen = [0; 3];
    (1..=50).for_each(|port| seen[usize::from(begin(&tables, port))] += 1);
    assert_eq!(seen[1..], [40, 10]);
}

#[test]
fn a_long_list_is_compared_to_its_end() {
    let mut tables = scheduled(Scheduler::LeastFlows, &[(1, 1)]);
    tables.slots.resize_with(8, SlotLine::default);
    tables.policies[1].listed = 40;
    for index in 0..40_u32 {
        let current = if index == 39 { 2 } else { 1 };
        tables.slots[3 + index as usize / 16].set(index, Slot { current, previous: 1 });
    }
    tables.loads[1].begin();
    assert_eq!(begin(&tables, 1), 2);
}

#[test]
fn a_syn_that_comes_again_finds_its_backend_while_that_takes_new_flows() {
    let mut tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    assert_eq!(begin(&tables, 9), 1);
    assert_eq!(begin(&tables, 9), 1, "sent again");
    tables.now += 3;
    assert_eq!(begin(&tables, 9), 1, "after three seconds");
    tables.backends[1].set_stance(Stance::Keeps);
    assert_eq!(begin(&tables, 9), 2, "its backend drains");
    assert_eq!(backend_of(&tables, &tcp_frame(9, ACK)), 2);
    assert_eq!(begin(&tables, 9), 1, "the connection was open: another one begins");
    tables.backends[1].set_stance(Stance::Takes);
    tables.now += 4;
    assert_eq!(begin(&tables, 9), 2, "long after");
}

#[test]
fn a_flow_without_a_place_goes_by_its_slot() {
    let mut tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    tables.settings.inserts_per_tick = 2;
    assert_eq!(begin(&tables, 1), 1);
    assert_eq!([begin(&tables, 2), begin(&tables, 3)], [7, 7], "half of the budget is spent");
    assert_eq!(backend_of(&tables, &tcp_frame(2, ACK)), 7);
    assert_eq!(tables.flow_counters.refusals.get(), 2);
    // Where the slot has changed, it goes where its next packets will.
    let mut tables = scheduled_over(DISPUTED, Scheduler::Rotate, &[(3, 1)]);
    tables.settings.inserts_per_tick = 0;
    assert_eq!([begin(&tables, 2), backend_of(&tables, &tcp_frame(2, ACK))], [1, 1]);
}

#[test]
fn what_the_cache_does_is_counted() {
    let tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    for flags in [SYN, ACK] {
        (1..=3).for_each(|port| assert_ne!(backend_of(&tables, &tcp_frame(port, flags)), 7));
    }
    let counters = &tables.flow_counters;
    let counted = [&counters.hits, &counters.inserts, &counters.evictions, &counters.refusals];
    assert_eq!(counted.map(std::cell::Cell::get), [3, 3, 0, 0]);
}

#[test]
fn a_flow_of_another_balancer_goes_by_its_slot() {
    let tables = scheduled(Scheduler::Rotate, &[(1, 1)]);
    assert_eq!(backend_of(&tables, &tcp_frame(5, ACK)), 7);
    let tables = scheduled_over(DISPUTED, Scheduler::Rotate, &[(3, 1)]);
    assert_eq!(backend_of(&tables, &tcp_frame(5, ACK)), 1);
    assert_eq!(tables.flows.iter().flat_map(FlowSet::iter).count(), 0);
}

#[test]
fn datagrams_of_a_flow_stay_until_it_is_silent() {
    let mut tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    let datagram = |port| frame(CLIENT, VIP, UDP, &udp(port, 53, b"?"));
    assert_eq!([1, 2].map(|port| backend_of(&tables, &datagram(port))), [1, 2]);
    tables.now += 60;
    assert_eq!([1, 2].map(|port| backend_of(&tables, &datagram(port))), [1, 2]);
    tables.now += 61;
    assert_eq!([1, 2, 1].map(|port| backend_of(&tables, &datagram(port))), [1, 2, 1]);
    assert_eq!(backend_of(&tables, &datagram(3)), 1, "the fifth that began");
}

/// The backends of one flow each of clients with these last bytes of their address.
fn by_source(tables: &HostTables, clients: &[u8], port: u16, flags: u8) -> Vec<u16> {
    let one = |last: &u8| {
        let client = format!("198.51.100.{last}");
        backend_of(tables, &frame(&client, VIP, TCP, &testing::tcp(port, 80, flags)))
    };
    clients.iter().map(one).collect()
}

#[test]
fn sources_stay_as_long_as_they_come_back_and_flows_longer() {
    let mut tables = scheduled(Scheduler::Source, &[(1, 1)]);
    let mut policy = tables.policies[1];
    policy.flags |= flag::BY_ADDRESS;
    policy.source_mask = [u32::from_ne_bytes([255, 255, 255, 0xf0]), 0, 0, 0];
    policy.source_timeout = 10;
    under(&mut tables, 1, policy);
    let set = |tables: &HostTables, backend| {
        (0..16).for_each(|slot| tables.slots[1].set(slot, Slot::settled(backend)));
    };
    assert_eq!(by_source(&tables, &[16, 17, 31, 32], 1, SYN), [7; 4]);
    set(&tables, 3);
    // One network of sixteen addresses stays, another comes anew.
    assert_eq!(by_source(&tables, &[18, 33, 48], 1, SYN), [7, 7, 3]);
    tables.now += 10;
    assert_eq!(by_source(&tables, &[19], 2, SYN), [7]);
    tables.now += 10;
    assert_eq!(by_source(&tables, &[20, 34], 2, SYN), [7, 3], "only who came back meanwhile");
    assert_eq!(by_source(&tables, &[16, 32], 1, ACK), [7, 7], "flows outlive their source");
    tables.backends[7].set_stance(Stance::Keeps);
    assert_eq!(by_source(&tables, &[21], 3, SYN), [3]);
    assert_eq!(by_source(&tables, &[16, 20], 1, ACK)[0], 7);
}

#[test]
fn the_short_way_has_an_answer_to_what_is_known_or_begins_in_turn() {
    let tables = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    for flags in [SYN, SYN, ACK, FIN | ACK] {
        let mut frame = HostFrame::new(&tcp_frame(9, flags));
        assert_eq!(remembered(&mut frame, &tables), Some(Verdict::Transmitted), "{flags}");
    }
    let (client, vip) = ("2001:db8::7", "fd00:200::1");
    let mut tables6 = scheduled(Scheduler::Rotate, &[(1, 1), (2, 1)]);
    add_service(&mut tables6, key(vip, 80, TCP), 0, 1, Slot::settled(7));
    let policy = tables6.policies[1];
    under(&mut tables6, 1, policy);
    for flags in [SYN, SYN, ACK, FIN | ACK] {
        let bytes = frame(client, vip, TCP, &testing::tcp(9, 80, flags));
        let verdict = remembered(&mut HostFrame::new(&bytes), &tables6);
        assert_eq!(verdict, Some(Verdict::Transmitted), "{flags}");
    }
    let mut stray = HostFrame::new(&tcp_frame(10, ACK));
    assert_eq!(remembered(&mut stray, &tables), None);
}

/// What the short way has an answer to, the long one answers in the same way.
#[test]
fn the_short_way_is_the_same_as_the_long_one() {
    for number in 0..=6 {
        let scheduler = Scheduler::from_number(number);
        let list = [(1, 100), (2, 50), (3, 200), (4, 1)];
        let [mut short, mut long] = [(); 2].map(|()| scheduled_over(DISPUTED, scheduler, &list));
        long.settings.features = 0;
        for step in 0..2000_u64 {
            let any = hash::spread(step);
            let port = (any % 50) as u16;
            let flags = [SYN, ACK, ACK, ACK, FIN | ACK, RST][(any >> 16) as usize % 6];
            let bytes = if any >> 32 & 7 == 0 {
                frame(CLIENT, VIP, UDP, &udp(port, 53, b"?"))
            } else {
                tcp_frame(port, flags)
            };
            let backends = [&short, &long].map(|tables| backend_of(tables, &bytes));
            assert_eq!(backends[0], backends[1], "{scheduler:?}, step {step}");
            for tables in [&mut short, &mut long] {
                tables.now += u16::from(step % 40 == 0);
            }
        }
        let flows = |tables: &HostTables| -> Vec<_> {
            tables.flows.iter().flat_map(FlowSet::iter).collect()
        };
        assert_eq!(flows(&short), flows(&long), "{scheduler:?}");
        assert_eq!(short.flow_counters, long.flow_counters, "{scheduler:?}");
        let loads = |tables: &HostTables| -> Vec<_> {
            tables.loads.iter().map(|load| load.flows()).collect()
        };
        assert_eq!(loads(&short), loads(&long), "{scheduler:?}");
    }
}

#[test]
fn a_source_has_a_backend_in_each_service() {
    let mut tables = scheduled(Scheduler::Source, &[(1, 1)]);
    add_service(&mut tables, key(VIP, 443, TCP), 0, 0, Slot::settled(3));
    let mut policy = tables.policies[1];
    policy.flags |= flag::BY_ADDRESS;
    policy.source_timeout = 10;
    under(&mut tables, 1, policy);
    let to = |port, flags| frame(CLIENT, VIP, TCP, &testing::tcp(4000, port, flags));
    assert_eq!(backend_of(&tables, &to(80, SYN)), 7);
    let other = backend_of(&tables, &to(443, SYN));
    assert_ne!(other, 7, "it is no backend of this service");
    assert_eq!([backend_of(&tables, &to(80, SYN)), backend_of(&tables, &to(443, ACK))], [7, other]);
}

#[test]
fn clients_of_one_network_share_a_slot_and_others_do_not() {
    let mut tables = serving(Slot::settled(1));
    let mut policy = policy(flag::BY_ADDRESS);
    policy.source_mask = [u32::from_ne_bytes([255, 255, 255, 0]), 0, 0, 0];
    under(&mut tables, 1, policy);
    (0..16).for_each(|slot| tables.slots[1].set(slot, Slot::settled(1 + slot as u16 % 7)));
    let all: Vec<u8> = (0..=255).collect();
    let first = by_source(&tables, &all, 1, SYN);
    assert!(first.iter().all(|backend| *backend == first[0]), "{first:?}");
    let other = |net| frame(&format!("198.51.{net}.1"), VIP, TCP, &testing::tcp(1, 80, SYN));
    let seen: std::collections::BTreeSet<u16> =
        (0..100).map(|net| backend_of(&tables, &other(net))).collect();
    assert!(seen.len() > 3);
}
