//! Frames and tables for unit tests.

use std::{cell::Cell, net::IpAddr};

use crate::{
    address::Address,
    backend::{Backend, Link, NextHop},
    forward::Forward,
    hash::{self, HashKey},
    host::HostTables,
    service::{Service, ServiceKey, Table},
    settings::Settings,
    slot::{Slot, SlotLine},
};

/// TCP's SYN flag.
pub(crate) const SYN: u8 = 2;
/// TCP's ACK flag.
pub(crate) const ACK: u8 = 16;

/// Interface that packets come in by.
pub(crate) const INGRESS: u32 = 1;

/// A TCP header without options.
pub(crate) fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    [&ports[..], &[0; 8], &[5 << 4, flags], &[0; 6]].concat()
}

/// A UDP datagram.
pub(crate) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let header = [from, to, length, 0].map(u16::to_be_bytes);
    [header.as_flattened(), payload].concat()
}

/// A frame around a transport header and what follows it.
pub(crate) fn frame(source: &str, destination: &str, protocol: u8, transport: &[u8]) -> Vec<u8> {
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let length = transport.len() as u16;
    match (address(source), address(destination)) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let [high, low] = (length + 20).to_be_bytes();
            let start = [0x45, 0, high, low, 0x12, 0x34, 0x40, 0, 57, protocol, 0, 0];
            let addresses = [source.octets(), destination.octets()].concat();
            [&ethernet, &[8, 0][..], &start, &addresses, transport].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let [high, low] = length.to_be_bytes();
            let start = [0x60, 0, 0, 0, high, low, protocol, 57];
            let addresses = [source.octets(), destination.octets()].concat();
            [&ethernet, &[0x86, 0xdd][..], &start, &addresses, transport].concat()
        }
        (source, destination) => panic!("no packet goes from {source} to {destination}"),
    }
}

/// An address from its text.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("test address")
}

/// The key of a service.
pub(crate) fn key(vip: &str, port: u16, protocol: u8) -> ServiceKey {
    ServiceKey::new(address(vip).into(), port, protocol)
}

/// A backend with a way to it.
pub(crate) fn backend(forward: Forward, destination: &str, source: &str) -> Backend {
    let (destination, source) = (address(destination), address(source));
    let backend = Backend::new(0, 1, forward, destination.into(), source.into());
    backend.set_next_hop(next_hop());
    backend
}

/// The way to every backend of [`backend`].
pub(crate) const fn next_hop() -> NextHop {
    NextHop {
        interface: INGRESS,
        mtu: 1500,
        link: Link { destination: [2, 0, 0, 0, 0, 3], source: [2, 0, 0, 0, 0, 4] },
    }
}

/// Tables without any service, with eight backends of which [`Forward::L2`] ways are known: entry
/// 0 is unused.
pub(crate) fn tables() -> HostTables {
    let known = |_| backend(Forward::L2, "10.1.0.1", "10.1.255.1");
    HostTables {
        settings: Settings {
            hash_key: HashKey::derive(b"unit test"),
            service_mask: 7,
            flow_mask: 3,
            inserts_per_tick: 100,
            ..Settings::default()
        },
        services: (0..8).map(|_| Service::default()).collect(),
        slots: (0..4).map(|_| SlotLine::default()).collect(),
        backends: std::iter::once(Backend::default()).chain((1..8).map(known)).collect(),
        flows: (0..4).map(|_| Default::default()).collect(),
        now: 100,
        ingress: INGRESS,
        service_counters: vec![Cell::default(); 8],
        backend_counters: vec![Cell::default(); 8],
        ..HostTables::default()
    }
}

/// Adds a service with the identifier of its line of sixteen slots, all of which are `slot`.
/// `place` is the first or second of its places.
pub(crate) fn add_service(
    tables: &mut HostTables,
    key: ServiceKey,
    place: usize,
    id: u32,
    slot: Slot,
) {
    let places = hash::places(key.hash(&tables.settings.hash_key), 7);
    let service = Service::unpublished(key, id);
    service.publish(Table::new(id * 16, 4));
    tables.services[places[place] as usize] = service;
    (0..16).for_each(|index| tables.slots[id as usize].set(index, slot));
}

/// The address as the packet core has it.
pub(crate) fn words(text: &str) -> Address {
    address(text).into()
}
