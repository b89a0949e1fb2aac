//! Any services after any others: packets find what a scan of the list finds.

use lb_common::{
    ServiceKey, find,
    host::holds,
    service::{TCP, UDP},
};
use proptest::prelude::*;

use super::*;
use crate::datapath::{
    desired::DesiredPing,
    keyed::MappedPrefix,
    policies::{DesiredPolicy, FlowLimit},
};

const MANY: Limits = Limits { services: 32, slots: 1 << 18, ..LIMITS };

/// Addresses of packets; services have these or prefixes of them.
const ADDRESSES: [&str; 6] =
    ["10.200.0.1", "10.200.0.2", "10.200.1.1", "10.9.0.1", "fd00:200::1", "fd00:200:0:1::1"];
/// Lengths of IPv4 and IPv6 prefixes; 0 is the address itself.
const LENGTHS: [[u8; 5]; 2] = [[0, 0, 24, 16, 8], [0, 0, 64, 48, 32]];
/// First and last port of services, a range where both differ.
const PORTS: [(u16, u16); 6] =
    [(0, 0), (80, 80), (1500, 1500), (1, 99), (1000, 1999), (3000, u16::MAX)];
const PROBES: [u16; 10] = [0, 1, 80, 99, 100, 1000, 1500, 1999, 3000, u16::MAX];

/// What a service is drawn from.
type Draw = (usize, usize, usize, bool, u8, u8);

fn draws() -> impl Strategy<Value = Vec<Draw>> {
    let one = (0..6_usize, 0..5_usize, 0..6_usize, any::<bool>(), any::<u8>(), any::<u8>());
    prop::collection::vec(one, 0..24)
}

fn parsed(text: &str) -> Address {
    text.parse::<IpAddr>().expect("test address").into()
}

/// The services of some draws, as a configuration allows them.
fn desired(draws: &[Draw]) -> Vec<DesiredService> {
    let mut services = BTreeMap::new();
    let mut by_address = BTreeSet::new();
    for (address, length, ports, is_udp, policy, member) in draws {
        let address = parsed(ADDRESSES[*address]);
        let length = LENGTHS[usize::from(address.is_ipv6())][*length];
        let (first, last) = PORTS[*ports];
        let protocol = if *is_udp { UDP } else { TCP };
        let key = match length {
            0 => ServiceKey::new(address, first, protocol),
            _ => ServiceKey::of_prefix(trunc(&address, length), length, first, protocol),
        };
        let (key, last_port) = if first == last { (key, 0) } else { (key.range_from(first), last) };
        let members: &[_] = if *member < 40 { &[(11, 100, STAY)] } else { &[] };
        let mut service = DesiredService { key, last_port, ..service(1, members) };
        service.policy = drawn_policy(*policy, &address);
        service.policy.by_address &= by_address.insert(key.at(0, protocol));
        // The same for all services of an address.
        let ping = [None, Some(DesiredPing::Answer)][usize::from(length / 8 % 2)];
        service.ping = ping;
        services.insert(key, service);
    }
    services.into_values().collect()
}

fn drawn_policy(draw: u8, like: &Address) -> DesiredPolicy {
    let mut policy = DesiredPolicy::default();
    for (bit, length) in [(1, 0), (2, 4), (4, 12), (8, 13)] {
        if draw & bit != 0 {
            let prefix = MappedPrefix::new(&trunc(like, length), length);
            policy.rules.insert(prefix, bit & 5 != 0);
        }
    }
    policy.denies_others = draw & 16 != 0;
    policy.by_address = draw & 32 != 0;
    policy.limit = (draw & 64 != 0).then_some(FlowLimit { per_minute: 60, burst: 1 });
    policy
}

/// The first bits of an address.
fn trunc(address: &Address, length: u8) -> Address {
    let net = ipnet::IpNet::new((*address).into(), length).expect("a length of its family");
    net.trunc().addr().into()
}

/// The service of a packet, by the rules as they are written down for people.
fn expected<'a>(
    services: &'a [DesiredService],
    address: &Address,
    port: u16,
    protocol: u8,
) -> Option<&'a DesiredService> {
    let has_address = |service: &&DesiredService| {
        service.key.prefix_length().is_none() && service.key.address() == *address
    };
    let longest = services
        .iter()
        .filter_map(|service| Some((service.key.prefix_length()?, prefix_address(&service.key))))
        .filter(|(length, prefix)| holds(prefix, *length, address))
        .map(|(length, _)| length)
        .max();
    let in_prefix = |service: &&DesiredService| {
        let length = service.key.prefix_length();
        length.is_some()
            && length == longest
            && holds(&prefix_address(&service.key), length.unwrap_or(0), address)
    };
    let own: Vec<_> = services.iter().filter(has_address).collect();
    let prefixed: Vec<_> = services.iter().filter(in_prefix).collect();
    [own, prefixed].iter().find_map(|level| {
        let here = || level.iter().filter(|service| service.key.protocol() == protocol);
        let exact = here().find(|s| !s.key.is_range() && s.key.port() == port);
        let range =
            here().find(|s| s.key.is_range() && (s.key.port()..=s.last_port).contains(&port));
        let every = here().find(|s| !s.key.is_range() && s.key.port() == 0);
        exact.or(range).or(every).copied()
    })
}

fn prefix_address(key: &ServiceKey) -> Address {
    Address::from_words(key.words(), key.is_ipv6())
}

fn check(tables: &Tables, services: &[DesiredService]) -> Result<(), TestCaseError> {
    let arrays = &tables.arrays;
    for address in ADDRESSES.map(parsed) {
        for (port, protocol) in PROBES.iter().flat_map(|port| [(*port, TCP), (*port, UDP)]) {
            let key = ServiceKey::new(address, port, protocol);
            let found = find::any(arrays, &arrays.settings[0], &key);
            let wanted = expected(services, &address, port, protocol);
            let id = found.table.is_present().then_some(found.service);
            let wanted_id = wanted.and_then(|service| tables.service_id(&service.key));
            prop_assert_eq!(id, wanted_id, "{:?} {} {}", address, port, protocol);
            let Some(service) = wanted else { continue };
            let policy = found.table.policy();
            prop_assert_eq!(policy == 0, service.policy.is_plain());
            check_rules(arrays, policy, &service.policy)?;
        }
    }
    let rules: usize = services.iter().map(|service| service.policy.rules.len()).sum();
    prop_assert_eq!(arrays.source_rules.entries().len(), rules);
    let policies = services.iter().filter(|service| !service.policy.is_plain()).count();
    prop_assert_eq!(tables.free_policies.len() + policies, arrays.policies.len() - 1);
    Ok(())
}

fn check_rules(arrays: &Arrays, index: u32, policy: &DesiredPolicy) -> Result<(), TestCaseError> {
    for source in ADDRESSES.map(parsed) {
        let rules = policy.rules.iter().filter(|(prefix, _)| prefix.holds(&source));
        let wanted = rules.max_by_key(|(prefix, _)| prefix.length).map(|(_, allowed)| *allowed);
        prop_assert_eq!(lb_common::Tables::source_rule(arrays, index, &source), wanted);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn packets_find_the_service_that_precedence_names(
        stages in prop::collection::vec((draws(), any::<bool>()), 1..5),
    ) {
        let arrays = Arrays::anonymous(&Lengths::from(&MANY)).expect("memory");
        let adopt = |arrays| Tables::adopt(arrays, HashKey::derive(b"test"), &MANY);
        let mut tables = adopt(arrays).expect("empty arrays");
        for (draws, is_restarted) in &stages {
            let services = desired(draws);
            commit(&mut tables, &services);
            check(&tables, &services)?;
            if *is_restarted {
                let Tables { arrays, .. } = tables;
                tables = adopt(arrays).expect("its own arrays");
                prop_assert_eq!(commit(&mut tables, &services), Committed::default());
                check(&tables, &services)?;
            }
        }
        commit(&mut tables, &[]);
        prop_assert_eq!(tables.free_lines.len(), tables.arrays.ranges.len() - 1);
        prop_assert!(tables.arrays.services.iter().all(|service| !service.table().is_present()));
    }
}
