//! Frames and tables for unit tests.

use std::{cell::Cell, net::IpAddr};

use crate::{
    address::Address,
    backend::{Backend, Link, NextHop},
    checksum,
    forward::{self, Forward},
    hash::{self, HashKey},
    host::{HostFrame, HostTables},
    packet::{Seen, extension, options, outline, seen},
    policy::Policy,
    send::Outgoing,
    service::{AddressEntry, ICMP, ICMPV6, Service, ServiceKey, TCP, Table, UDP},
    settings::Settings,
    signals::Signals,
    slot::{Slot, SlotLine},
    verdict::Verdict,
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

/// An ICMP message without checksum; `rest` is what follows that.
pub(crate) fn icmp(kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0], &rest[..], payload].concat()
}

/// A frame with IPv4 options, a multiple of 4 bytes, in its packet.
pub(crate) fn with_options(bytes: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[14] += (options.len() / 4) as u8;
    add_length(&mut bytes[16..18], options.len());
    bytes.splice(34..34, options.iter().copied());
    bytes
}

/// A frame with extension headers in its IPv6 packet: numbers and bytes, the first of which is
/// filled in.
pub(crate) fn with_extensions(bytes: &[u8], headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (number, header) in headers.iter().rev() {
        let next = std::mem::replace(&mut bytes[20], *number);
        add_length(&mut bytes[18..20], header.len());
        bytes.splice(54..54, [&[next], &header[1..]].concat());
    }
    bytes
}

/// A frame with this bit field and identification of a fragment in its IPv4 packet.
pub(crate) fn with_piece(bytes: &[u8], id: u16, field: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[18..20].copy_from_slice(&id.to_be_bytes());
    bytes[20..22].copy_from_slice(&field.to_be_bytes());
    bytes
}

/// A frame with VLAN tags, four bytes each.
pub(crate) fn with_tags(bytes: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&bytes[..12], tags.as_flattened(), &bytes[12..]].concat()
}

fn add_length(field: &mut [u8], more: usize) {
    let length = u16::from_be_bytes([field[0], field[1]]) + more as u16;
    field.copy_from_slice(&length.to_be_bytes());
}

/// An untagged frame with right checksums: that of IPv4, and of TCP, UDP or ICMP right behind an
/// IP header without extension headers.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let transport = if bytes[12] == 8 { 14 + usize::from(bytes[14] & 15) * 4 } else { 54 };
    let protocol = if bytes[12] == 8 { bytes[23] } else { bytes[20] };
    if bytes[12] == 8 {
        seal(&mut bytes, 24, |bytes| checksum::sum(&bytes[14..transport]));
    }
    let place = match protocol {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return bytes,
    };
    seal(&mut bytes, transport + place, segment_sum);
    bytes
}

fn seal(bytes: &mut [u8], at: usize, sum: impl Fn(&[u8]) -> u16) {
    bytes[at..at + 2].fill(0);
    let sum = !sum(bytes);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The sum of an untagged frame's segment and its pseudo-header: 0xffff if its checksum is right.
pub(crate) fn segment_sum(bytes: &[u8]) -> u16 {
    let ipv4 = bytes[12] == 8;
    let transport = if ipv4 { 14 + usize::from(bytes[14] & 15) * 4 } else { 54 };
    let protocol = if ipv4 { bytes[23] } else { bytes[20] };
    let addresses = if ipv4 { &bytes[26..34] } else { &bytes[22..54] };
    let length = (bytes.len() - transport) as u16;
    let [high, low] = length.to_be_bytes();
    let pseudo = [addresses, &[0, protocol, high, low]].concat();
    let pseudo = if protocol == ICMP { 0 } else { u32::from(checksum::sum(&pseudo)) };
    checksum::fold(pseudo + u32::from(checksum::sum(&bytes[transport..])))
}

/// A frame's packet as the uncommon way reads it.
pub(crate) fn seen(bytes: &[u8]) -> Result<Seen, Verdict> {
    let frame = HostFrame::new(bytes);
    let mut outline = outline::read(&frame)?;
    let mut has_more = outline.has_more_headers();
    while has_more {
        has_more = if outline.ipv6 {
            extension::walk(&frame, &mut outline)?
        } else {
            options::walk(&frame, &mut outline)
        };
    }
    seen::read(&frame, &outline)
}

/// A frame's packet in a tunnel to a backend; `None` if the frame has no room for it.
pub(crate) fn encapsulate(frame: &mut HostFrame, backend: &Backend, flow: u64) -> Option<()> {
    let seen = seen(frame.bytes()).expect("a packet");
    let outgoing = Outgoing { packet: &seen.packet, flow, tags: &seen.tags };
    match backend.forward().expect("a backend") {
        Forward::Ipip => forward::ipip::encapsulate(frame, &outgoing, backend),
        Forward::Gue => forward::gue::encapsulate(frame, &outgoing, backend, None),
        Forward::L2 | Forward::Nat => panic!("no tunnel"),
    }
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
        vlan: 0,
        link: Link { destination: [2, 0, 0, 0, 0, 3], source: [2, 0, 0, 0, 0, 4] },
    }
}

/// A backend of a service, reached by [`Forward::L2`].
pub(crate) fn backend_of(service: u32) -> Backend {
    let [address, source] = ["10.1.0.1", "10.1.255.1"]
        .map(|text| Address::from(text.parse::<IpAddr>().expect("an address")));
    let backend = Backend::new(service, 0, Forward::L2, address, source);
    backend.set_next_hop(next_hop());
    backend
}

/// Tables without any service, with eight backends of which [`Forward::L2`] ways are known: entry
/// 0 is unused.
pub(crate) fn tables() -> HostTables {
    let known = |_| backend(Forward::L2, "10.1.0.1", "10.1.255.1");
    HostTables {
        settings: Settings {
            hash_key: HashKey::derive(b"unit test"),
            service_mask: 63,
            flow_mask: 3,
            inserts_per_tick: 100,
            replies_per_tick: 100,
            fragment_mask: 3,
            hz: 250,
            ..Settings::default()
        },
        services: (0..64).map(|_| Service::default()).collect(),
        slots: (0..4).map(|_| SlotLine::default()).collect(),
        signals: (0..8).map(|_| Signals::default()).collect(),
        backends: std::iter::once(Backend::default()).chain((1..8).map(known)).collect(),
        flows: (0..4).map(|_| Default::default()).collect(),
        fragments: (0..4).map(|_| Default::default()).collect(),
        policies: vec![Policy::NONE; 4],
        loads: (0..8).map(|_| Default::default()).collect(),
        rotations: (0..4).map(|_| Default::default()).collect(),
        now: 100,
        ingress: INGRESS,
        service_counters: vec![Cell::default(); 8],
        backend_counters: vec![Cell::default(); 8],
        ..HostTables::default()
    }
}

/// A policy that asks for this, as bits of [`crate::policy::flag`].
pub(crate) fn policy(flags: u32) -> Policy {
    let mut policy = Policy::NONE;
    policy.flags = flags;
    policy.source_mask = [u32::MAX; 4];
    policy
}

/// Puts services under a policy.
pub(crate) fn under(tables: &mut HostTables, index: u32, policy: Policy) {
    tables.policies[index as usize] = policy;
    for service in &tables.services {
        if service.table().is_present() && !service.key().is_address() {
            service.publish(service.table().under(index));
        }
    }
}

/// Adds what is known of an address, at whose key it is put.
pub(crate) fn add_address(tables: &mut HostTables, key: ServiceKey, entry: AddressEntry) {
    let key = key.of_address();
    let places = places(tables, &key);
    let is_free = |place: &&u32| !tables.services[**place as usize].table().is_present();
    let place = *places.iter().find(is_free).expect("a free place") as usize;
    let service = Service::unpublished(key, 0);
    service.publish(entry.table());
    tables.services[place] = service;
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
    let places = places(tables, &key);
    let service = Service::unpublished(key, id);
    service.publish(Table::new(id * 16, 4));
    tables.services[places[place] as usize] = service;
    (0..16).for_each(|index| tables.slots[id as usize].set(index, slot));
}

/// The two places that a service with this key may have.
pub(crate) fn places(tables: &HostTables, key: &ServiceKey) -> [u32; 2] {
    hash::places(key.hash(&tables.settings.hash_key), tables.settings.service_mask)
}

/// The address as the packet core has it.
pub(crate) fn words(text: &str) -> Address {
    address(text).into()
}
