//! Random services of every kind of address and ports, and packets to them.

use std::net::{IpAddr, SocketAddr};

use fastrand::Rng;
use lb_common::{Address, ServiceKey};

use super::{
    clients::PORTS,
    desired::{VIPS, random_key},
    once_in, one_of,
};

/// Ranges of ports, of which none overlaps with another.
const RANGES: [(u16, u16); 4] = [(1, 60), (80, 81), (400, 500), (0x4000, u16::MAX)];
/// Lengths of IPv4 and IPv6 prefixes.
const LENGTHS: [[u8; 3]; 2] = [[8, 16, 24], [32, 48, 127]];

/// The key of a service, and the last port of a range.
pub(super) fn random_service_key(rng: &mut Rng) -> (ServiceKey, u16) {
    let mut key = random_key(rng);
    if once_in(rng, 3) {
        let length = one_of(rng, &LENGTHS[usize::from(key.is_ipv6())]);
        let net = ipnet::IpNet::new(key.address().into(), length).expect("of its family");
        let network = net.trunc().addr().into();
        key = ServiceKey::of_prefix(network, length, key.port(), key.protocol());
    }
    if once_in(rng, 3) {
        let (first, last) = one_of(rng, &RANGES);
        return (key.range_from(first), last);
    }
    (key, 0)
}

/// An address and port of a service, or nearly.
pub(super) fn random_destination(rng: &mut Rng, key: &ServiceKey) -> SocketAddr {
    let port = match key.port() {
        first if key.is_range() => one_of(rng, &[first, first + 1, 53, 80, 443, 0x5000, u16::MAX]),
        0 => one_of(rng, &PORTS),
        port => port,
    };
    let own = IpAddr::from(Address::from_words(key.words(), key.is_ipv6()));
    if key.prefix_length().is_none() {
        return SocketAddr::new(own, port);
    }
    let vips = VIPS.map(|vip| vip.parse::<IpAddr>().expect("service address"));
    let of_family = vips.into_iter().filter(|vip| vip.is_ipv6() == key.is_ipv6());
    let any: Vec<IpAddr> = of_family.chain([own]).collect();
    SocketAddr::new(one_of(rng, &any), port)
}
