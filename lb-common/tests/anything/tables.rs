//! Tables that lead to packets' services, and from there anywhere.

use std::net::IpAddr;

use lb_common::{
    Backend, Forward, NextHop, Service, ServiceKey, Settings, Slot, SlotLine, Table, hash,
    host::{HostTables, Translations},
    nat::{Translation, Tuple},
    policy::ServerKey,
    service::Prefix,
};

use super::{
    draw::Draw,
    frames::{ADDRESSES, PORTS, PROTOCOLS},
};

/// Length of the table of services in most tables.
const PLACES: u32 = 64;

/// Any tables.
pub(crate) fn any(draw: &mut Draw) -> HostTables {
    let mut tables = HostTables {
        settings: draw.value(),
        slots: (0..draw.one_of(&[8, 8, 8, 3, 0])).map(|_| slots(draw)).collect(),
        backends: (0..draw.one_of(&[8, 8, 20, 3, 0])).map(|_| backend(draw)).collect(),
        flows: draw.values(4),
        now: draw.number() as u16,
        jiffies: draw.number(),
        policies: draw.values(8),
        buckets: draw.values(8),
        source_buckets: draw.values(4),
        ranges: draw.values(4),
        fragments: draw.values(4),
        ingress: draw.below(3) as u32,
        signals: vec![Default::default(); draw.below(4)],
        service_counters: vec![Default::default(); draw.below(4)],
        backend_counters: vec![Default::default(); draw.below(4)],
        ..HostTables::default()
    };
    // Lengths that fit in most tables, so that packets get further; any mask in the others.
    tables.settings.service_mask =
        draw.one_of(&[PLACES - 1, PLACES - 1, PLACES - 1, PLACES - 1, u32::MAX]);
    tables.settings.flow_mask = draw.one_of(&[0, 0, 3, u32::MAX]);
    tables.settings.features |= draw.number() as u32;
    if draw.below(10) == 0 {
        tables.settings = Settings::default();
    }
    tables.services = services(draw, &tables.settings);
    for policy in 0..draw.below(4) as u32 {
        let address = draw.one_of(&ADDRESSES).into();
        let length = draw.one_of(&[0, 24, 96, 128]);
        tables.rules.entry(policy).or_default().push((address, length, draw.below(2) == 0));
        let key = ServerKey { id: draw.below(4) as u64, policy, length: draw.below(3) as u32 };
        tables.servers.insert(key, draw.number() as u16);
        tables.prefixes.push((draw.one_of(&ADDRESSES).into(), length));
    }
    tables.translations = Translations::new(draw.below(6));
    for _ in 0..draw.below(6) {
        // A table that is full refuses, which is as good.
        let _ = tables.translations.add(&tuple(draw), &translation(draw));
    }
    tables
}

/// Slots of any backends, of which most are there.
fn slots(draw: &mut Draw) -> SlotLine {
    let line: SlotLine = draw.value();
    for index in 0..draw.one_of(&[16, 16, 16, 8, 0]) {
        let mut owner = || draw.one_of(&[1, 2, 1, 2, 3, 4, 0, u16::MAX]);
        line.set(index, Slot { current: owner(), previous: owner() });
    }
    line
}

/// A backend with a way to it, or garbage.
fn backend(draw: &mut Draw) -> Backend {
    let Some(forward) = Forward::from_number(draw.one_of(&[1, 2, 1, 2, 3, 4, 5])) else {
        return draw.value();
    };
    let [to, from] = [(), ()].map(|()| draw.one_of(&ADDRESSES).into());
    let backend = Backend::new(draw.below(4) as u32, draw.below(3) as u16, forward, to, from);
    let any = draw.number() as u16;
    backend.set_next_hop(NextHop {
        interface: draw.one_of(&[1, 1, 2, u32::MAX, 0]),
        mtu: draw.one_of(&[1500, u16::MAX, 1280, 60, 0, any]),
        vlan: draw.one_of(&[0, 0, 0, 5, any]),
        ..NextHop::default()
    });
    backend
}

/// Services at the places where packets look for them, and a present table of any kind in most.
fn services(draw: &mut Draw, settings: &Settings) -> Vec<Service> {
    let mut services: Vec<Service> = draw.values(PLACES as usize);
    services.resize_with(PLACES as usize, Service::default);
    for _ in 0..40 {
        let key = key(draw);
        let any = draw.number() as u32;
        let service = Service::unpublished(key, draw.one_of(&[0, 1, u32::MAX, any]));
        let near = Table::new(draw.below(20) as u32 * 4, draw.below(6) as u8);
        let far = Table::new(u32::MAX - draw.below(16) as u32, draw.below(32) as u8);
        let garbage = Table::from_word(draw.number() | 1 << 63);
        service.publish(draw.one_of(&[near, near, near, far, garbage, Table::empty()]));
        let places = hash::places(key.hash(&settings.hash_key), PLACES - 1);
        services[draw.one_of(&places) as usize] = service;
    }
    services.truncate(draw.one_of(&[PLACES, PLACES, PLACES, PLACES, PLACES, 3, 0]) as usize);
    services
}

/// The key of a service of any sort, or of what is known of an address.
fn key(draw: &mut Draw) -> ServiceKey {
    let address = draw.one_of(&ADDRESSES[..2]).into();
    let key = ServiceKey::new(address, draw.one_of(&PORTS), draw.one_of(&PROTOCOLS));
    match draw.below(8) {
        0 => key.every_port(),
        1 | 2 => key.of_address(),
        3 => key.range_from(draw.one_of(&PORTS)),
        4 => key.within(&Prefix::new(address, draw.one_of(&[0, 24, 96, 128]))),
        _ => key,
    }
}

fn translation(draw: &mut Draw) -> Translation {
    let owner = (draw.one_of(&[1, 2, 3, 0, u16::MAX]), draw.below(3) as u16);
    Translation::new(tuple(draw), draw.number() as u16, draw.below(4) as u32, owner)
}

fn tuple(draw: &mut Draw) -> Tuple {
    let words = |address: IpAddr| lb_common::nat::pairs(lb_common::Address::from(address).words());
    Tuple {
        source: words(draw.one_of(&ADDRESSES)),
        destination: words(draw.one_of(&ADDRESSES)),
        ports: u32::from(draw.one_of(&PORTS)) | u32::from(draw.one_of(&PORTS)) << 16,
        protocol: u32::from(draw.one_of(&PROTOCOLS))
            | (draw.one_of(&[4, 6]) << 8)
            | (draw.below(2) as u32) << 16,
    }
}
