//! The addresses of the test network, IPv4 and IPv6 side by side.
//!
//! | | IPv4 | IPv6 |
//! |---|---|---|
//! | client | 10.0.0.2 | fd00::2 |
//! | router, to the client | 10.0.0.254/24 | fd00::254/64 |
//! | router, to the others | 10.0.1.254/24 | fd00:1::254/64 |
//! | balancer | 10.0.1.1 | fd00:1::1 |
//! | another balancer | 10.0.1.2 | fd00:1::2 |
//! | backend 1, 2 ... | 10.0.1.11 ... | fd00:1::11 ... |
//! | balancer, on a cable to a backend | 10.0.2.1/24 | fd00:2::1/64 |
//! | backend 1, 2 ..., at its other end | 10.0.2.11 ... | fd00:2::11 ... |
//! | services, routed to the balancer | 10.200.0.0/24 | fd00:200::/64 |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP version; most of the rig exists once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The bits of a network's part of an address of the test network.
    #[must_use]
    pub fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The client's address.
#[must_use]
pub fn client(family: Family) -> IpAddr {
    in_network(family, CLIENTS, 2)
}

/// The router's address towards the client.
#[must_use]
pub fn client_gateway(family: Family) -> IpAddr {
    in_network(family, CLIENTS, 254)
}

/// The router's address towards the balancer and the backends.
#[must_use]
pub fn gateway(family: Family) -> IpAddr {
    in_network(family, SERVERS, 254)
}

/// The balancer's address.
#[must_use]
pub fn balancer(family: Family) -> IpAddr {
    in_network(family, SERVERS, 1)
}

/// The address of another balancer.
#[must_use]
pub fn second_balancer(family: Family) -> IpAddr {
    in_network(family, SERVERS, 2)
}

/// The address of backend `number`, which counts from 1.
#[must_use]
pub fn backend(family: Family, number: u8) -> IpAddr {
    in_network(family, SERVERS, 10 + number)
}

/// The balancer's address on a cable of its own to a backend.
#[must_use]
pub fn balancer_on_cable(family: Family) -> IpAddr {
    in_network(family, CABLE, 1)
}

/// The address of backend `number`, which counts from 1, at the other end of that cable.
#[must_use]
pub fn backend_on_cable(family: Family, number: u8) -> IpAddr {
    in_network(family, CABLE, 10 + number)
}

/// The address of service `number`, which counts from 1.
#[must_use]
pub fn service(family: Family, number: u8) -> IpAddr {
    in_network(family, SERVICES, number)
}

/// The network of all services' addresses, as `ip route` reads it.
#[must_use]
pub fn services(family: Family) -> String {
    format!("{}/{}", in_network(family, SERVICES, 0), family.prefix())
}

/// A network: its last two bytes in IPv4, its second group in IPv6.
type Network = ([u8; 2], u16);

const CLIENTS: Network = ([0, 0], 0);
const SERVERS: Network = ([0, 1], 1);
const CABLE: Network = ([0, 2], 2);
const SERVICES: Network = ([200, 0], 0x200);

/// The host number is written with the same digits in both families: 10.0.1.11 and fd00:1::11.
fn in_network(family: Family, network: Network, number: u8) -> IpAddr {
    let ([second, third], group) = network;
    match family {
        Family::V4 => Ipv4Addr::new(10, second, third, number).into(),
        Family::V6 => {
            let digits = number.to_string();
            let last = u16::from_str_radix(&digits, 16).expect("decimal digits are hex digits");
            Ipv6Addr::new(0xfd00, group, 0, 0, 0, 0, 0, last).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_use_the_same_digits() {
        assert_eq!(backend(Family::V4, 5).to_string(), "10.0.1.15");
        assert_eq!(backend(Family::V6, 5).to_string(), "fd00:1::15");
        assert_eq!(client_gateway(Family::V6).to_string(), "fd00::254");
        assert_eq!(service(Family::V4, 1).to_string(), "10.200.0.1");
        assert_eq!(services(Family::V6), "fd00:200::/64");
    }
}
