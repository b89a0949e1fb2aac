//! Tables from bytes.
//!
//! A byte that is missing is zero and chooses what is plainest. What a byte means never changes:
//! new meanings are for bits and bytes that have none, or the corpus would lose its sense.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::{Address, Forward, HashKey, Link, NextHop, ServiceKey, service};
use lb_userspace::datapath::desired::{DesiredMember, DesiredService, Flows, Route};

use super::{
    super::{
        BALANCER_LINK, INGRESS,
        random::{
            Configuration,
            desired::{BACKEND_SOURCES, BACKENDS, VIPS, backend},
        },
    },
    parsed,
};

/// Bytes before the first service: hash key, inserts, and a nibble for the way to each backend.
const HEAD: usize = 2 + BACKENDS as usize;
/// Bytes of a service, of which the last two have no meaning yet.
const SERVICE: usize = 8;
const MOST_SERVICES: usize = 8;

const PORTS: [u16; 8] = [80, 0, 53, 443, 8080, 0x5000, 1, 65_535];
/// The last is free for another way.
const FORWARDS: [Forward; 4] = [Forward::Ipip, Forward::L2, Forward::Gue, Forward::Ipip];
const INSERTS: [u32; 4] = [50_000, 0, 1, 5];
/// Interface and MTU of ways to backends; 0 as interface is a way that is not known.
const WAYS: [(u32, u16); 16] = [
    (INGRESS, 1500),
    (2, 1500),
    (0, 1500),
    (INGRESS, 1280),
    (INGRESS, 576),
    (INGRESS, 100),
    (INGRESS, 60),
    (INGRESS, 0),
    (INGRESS, 3500),
    (INGRESS, 65_535),
    (u32::MAX, 1500),
    (2, 1280),
    (2, 100),
    (INGRESS, 1420),
    (INGRESS, 1460),
    (INGRESS, 1499),
];

impl Configuration {
    /// The tables that some bytes describe; any bytes do.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Self {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let records = bytes.get(HEAD..).unwrap_or_default().chunks(SERVICE).take(MOST_SERVICES);
        let records: Vec<[u8; SERVICE]> = records.map(padded).collect();
        let mut stages = vec![services(&records, first)];
        if records.iter().any(|record| record[4] != 0) {
            stages.push(services(&records, second));
        }
        Self {
            key: HashKey::derive(&[byte(0)]),
            inserts_per_tick: chosen(&INSERTS, byte(1)),
            routes: routes(|number| byte(2 + usize::from(number))),
            stages,
            clients: Vec::new(),
        }
    }
}

/// The services of a stage, each key once.
fn services(
    records: &[[u8; SERVICE]],
    member: impl Fn(&[u8; SERVICE], u16) -> Option<DesiredMember>,
) -> Vec<DesiredService> {
    let mut services = BTreeMap::new();
    for record in records {
        let [vip, port, kind, ..] = *record;
        let protocol = chosen(&[service::TCP, service::UDP], kind);
        let key =
            ServiceKey::new(parsed(chosen(&VIPS, vip)).into(), chosen(&PORTS, port), protocol);
        services.entry(key).or_insert_with(|| {
            let members = (0..BACKENDS).filter_map(|number| member(record, number)).collect();
            DesiredService::plain(key, chosen(&FORWARDS, kind >> 1), members)
        });
    }
    services.into_values().collect()
}

/// A member is there unless its bit is set; the bit above them all chooses IPv6.
fn first(record: &[u8; SERVICE], number: u16) -> Option<DesiredMember> {
    let absent = record[3];
    (absent >> number & 1 == 0).then(|| DesiredMember {
        address: backend(number, absent & 0x80 != 0),
        port: 0,
        base_weight: 100,
        weight: 100,
        flows: Flows::Stay,
    })
}

/// A member whose bit is set loses its slots, and the next byte says what becomes of its flows.
fn second(record: &[u8; SERVICE], number: u16) -> Option<DesiredMember> {
    let (loses, flows) = (record[4] >> number & 1 != 0, record[5] >> number & 1 != 0);
    let member = first(record, number)?;
    Some(DesiredMember {
        weight: if loses { 0 } else { 100 },
        flows: match (loses, flows) {
            (true, false) => Flows::Keep,
            (true, true) => Flows::Leave,
            (false, _) => Flows::Stay,
        },
        ..member
    })
}

/// The lower nibble is the way to the IPv4 backend of this number, the upper to the IPv6 one.
fn routes(ways: impl Fn(u16) -> u8) -> BTreeMap<Address, Route> {
    let both = |number| [false, true].map(|ipv6| (number, ipv6));
    let backends = (0..BACKENDS).flat_map(both);
    let known = backends.filter_map(|(number, ipv6)| {
        let way = ways(number) >> if ipv6 { 4 } else { 0 };
        let (interface, mtu) = chosen(&WAYS, way & 0xf);
        let link = Link { destination: [2, 0, 0, 0, 1, number as u8], source: BALANCER_LINK };
        let source: IpAddr = parsed(BACKEND_SOURCES[usize::from(ipv6)]);
        let next = NextHop { interface, mtu, vlan: 0, link };
        let route = Route { source: source.into(), next };
        (interface != 0).then(|| (backend(number, ipv6), route))
    });
    known.collect()
}

fn padded(record: &[u8]) -> [u8; SERVICE] {
    let mut padded = [0; SERVICE];
    padded[..record.len()].copy_from_slice(record);
    padded
}

fn chosen<T: Copy>(values: &[T], byte: u8) -> T {
    values[usize::from(byte) % values.len()]
}
