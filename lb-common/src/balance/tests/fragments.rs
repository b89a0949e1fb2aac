//! Datagrams in pieces.

use super::*;
use crate::{service::AddressEntry, testing::add_address};

const MORE: u16 = 0x2000;

fn first(id: u16, client: u16) -> Vec<u8> {
    testing::with_piece(&frame(CLIENT, VIP, UDP, &udp(client, 53, &[0; 24])), id, MORE)
}

fn later(id: u16) -> Vec<u8> {
    testing::with_piece(&frame(CLIENT, VIP, UDP, &[0x5a; 16]), id, 4)
}

fn known() -> HostTables {
    let mut tables = serving(Slot::settled(2));
    add_address(&mut tables, key(VIP, 53, UDP), AddressEntry::KNOWN);
    tables
}

#[test]
fn later_fragments_follow_the_first() {
    let tables = known();
    for (index, id) in [(0, 1), (1, 2)] {
        // As many slots as there are: flows of other ports have other backends.
        for slot in 0..16 {
            tables.slots[2].set(slot, Slot::settled(1 + (slot % 7) as u16));
        }
        let backend = backend_of(&tables, &first(id, 4000 + index));
        assert_eq!(backend_of(&tables, &later(id)), backend);
        assert_eq!(backend_of(&tables, &later(id)), backend);
    }
}

#[test]
fn a_later_fragment_alone_is_unmatched() {
    let tables = known();
    assert_eq!(run(&tables, &later(1)), Verdict::FragmentUnmatched);
    assert_eq!(backend_of(&tables, &first(2, 4000)), 2);
    assert_eq!(run(&tables, &later(1)), Verdict::FragmentUnmatched, "another datagram's");
    assert_eq!(backend_of(&tables, &later(2)), 2);
}

/// Fragments follow each other at once, however many datagrams there are.
#[test]
fn the_newest_datagrams_find_their_way() {
    let tables = known();
    let datagrams = if cfg!(miri) { 50 } else { 20_000 };
    for id in 1..=datagrams {
        assert_eq!(backend_of(&tables, &first(id, 4000)), 2);
        assert_eq!(backend_of(&tables, &later(id)), 2, "datagram {id}");
    }
}

#[test]
fn ports_are_forgotten() {
    let mut tables = known();
    assert_eq!(backend_of(&tables, &first(1, 4000)), 2);
    tables.now += 32;
    assert_eq!(backend_of(&tables, &later(1)), 2);
    tables.now += 1;
    assert_eq!(run(&tables, &later(1)), Verdict::FragmentUnmatched);
}

#[test]
fn fragments_to_other_addresses_pass() {
    let tables = serving(Slot::settled(2));
    assert_eq!(run(&tables, &later(1)), Verdict::Fragment, "nothing is known of the address");
    let tables = known();
    let tcp = testing::with_piece(&frame(CLIENT, VIP, TCP, &[0x5a; 16]), 1, 4);
    assert_eq!(run(&tables, &tcp), Verdict::Fragment, "no service of the protocol");
}

#[test]
fn unmatched_fragments_go_to_the_default_service() {
    let mut tables = serving(Slot::settled(2));
    let entry = AddressEntry::KNOWN.with_default(53, UDP);
    add_address(&mut tables, key(VIP, 53, UDP), entry);
    assert_eq!(backend_of(&tables, &later(1)), 2);
}

#[test]
fn tiny_fragments_and_too_long_datagrams_are_dropped() {
    let tables = serving(Slot::settled(2));
    let tiny =
        testing::with_piece(&frame(CLIENT, VIP, TCP, &testing::tcp(1, 80, SYN)[..16]), 1, MORE);
    assert_eq!(run(&tables, &tiny), Verdict::TinyFragment);
    let tables = known();
    assert_eq!(backend_of(&tables, &first(1, 4000)), 2);
    let long = testing::with_piece(&frame(CLIENT, VIP, UDP, &[0; 16]), 1, 0x1fff);
    assert_eq!(run(&tables, &long), Verdict::Malformed);
}
