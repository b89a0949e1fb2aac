//! Services whose backend is known beforehand: each has one, so no hash decides.

use std::net::IpAddr;

use lb_common::{Address, Forward, Link, NextHop, ServiceKey, service};
use lb_userspace::datapath::desired::{DesiredMember, DesiredService, Flows, Route};

use super::{balancer::Balancer, program::INGRESS, shape::BALANCER_LINK, tunnel::Tunnel};

/// Every service's address, IPv4 and IPv6.
pub const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
/// The address of the services that have every port.
pub const EVERY_PORT_VIPS: [&str; 2] = ["10.200.0.2", "fd00:200::2"];
/// The interface of [`Kind::OtherInterface`].
pub const OTHER_INTERFACE: u32 = 77;
/// The MTU of [`Kind::SmallMtu`].
pub const SMALL_MTU: u16 = 1300;

/// What is special about a service, which its port tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// `l2`.
    L2 = 81,
    /// `ipip` to an IPv4 backend.
    OverIpv4 = 84,
    /// `ipip` to an IPv6 backend.
    OverIpv6 = 86,
    /// `ipip` to an IPv4 backend behind another interface than the packet's.
    OtherInterface = 87,
    /// `ipip` to an IPv4 backend behind a small MTU.
    SmallMtu = 88,
    /// `ipip` to an IPv6 backend behind a small MTU.
    SmallMtuIpv6 = 89,
    /// `l2` to a backend behind a small MTU.
    SmallMtuL2 = 90,
    /// The way to its backend is not known.
    NoNextHop = 91,
    /// It has no backend.
    NoBackend = 92,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::L2,
        Self::OverIpv4,
        Self::OverIpv6,
        Self::OtherInterface,
        Self::SmallMtu,
        Self::SmallMtuIpv6,
        Self::SmallMtuL2,
        Self::NoNextHop,
        Self::NoBackend,
    ];

    /// Its port.
    #[must_use]
    pub const fn port(self) -> u16 {
        self as u16
    }

    const fn forward(self) -> Forward {
        match self {
            Self::L2 | Self::SmallMtuL2 => Forward::L2,
            _ => Forward::Ipip,
        }
    }

    /// The backend of the service.
    #[must_use]
    pub fn backend(self) -> IpAddr {
        match self {
            Self::OverIpv6 | Self::SmallMtuIpv6 => [0xfd00, 1, 0, 0, 0, 0, 0, self.port()].into(),
            _ => [10, 1, 0, self.port() as u8].into(),
        }
    }

    /// The way to the backend.
    #[must_use]
    pub fn route(self) -> Option<Route> {
        let source: IpAddr = match self.backend() {
            IpAddr::V4(_) => [10, 1, 255, 1].into(),
            IpAddr::V6(_) => [0xfd00, 1, 0, 0, 0, 0, 0xff, 1].into(),
        };
        let next = NextHop {
            interface: match self {
                Self::OtherInterface => OTHER_INTERFACE,
                _ => INGRESS,
            },
            mtu: match self {
                Self::SmallMtu | Self::SmallMtuIpv6 | Self::SmallMtuL2 => SMALL_MTU,
                _ => 1500,
            },
            link: Link { destination: [2, 0, 0, 0, 1, self.port() as u8], source: BALANCER_LINK },
        };
        (self != Self::NoNextHop).then_some(Route { source: source.into(), next })
    }

    /// Bytes of the outer header.
    #[must_use]
    pub fn overhead(self) -> usize {
        match (self.forward(), self.backend()) {
            (Forward::L2 | Forward::Nat, _) => 0,
            (Forward::Gue, IpAddr::V4(_)) => 32,
            (Forward::Gue, IpAddr::V6(_)) => 52,
            (Forward::Ipip, IpAddr::V4(_)) => 20,
            (Forward::Ipip, IpAddr::V6(_)) => 40,
        }
    }

    /// The tunnel to the backend, for a packet with this traffic class.
    ///
    /// # Panics
    /// If there is no way to it.
    #[must_use]
    pub fn tunnel(self, traffic_class: u8, flow_label: u32) -> Tunnel {
        let route = self.route().expect("a way to the backend");
        Tunnel {
            link: route.next.link,
            source: route.source.into(),
            destination: self.backend(),
            traffic_class,
            flow_label,
        }
    }
}

/// A balancer with a service of each kind for both families and protocols, and with TCP services
/// that have every port, forwarded as [`Kind::L2`].
///
/// # Panics
/// If the kernel refuses.
#[must_use]
pub fn balancer() -> Balancer {
    let mut services = Vec::new();
    for vip in VIPS {
        for protocol in [service::TCP, service::UDP] {
            for kind in Kind::ALL {
                let members = match kind {
                    Kind::NoBackend => Vec::new(),
                    _ => vec![member(kind.backend(), 100)],
                };
                services.push(DesiredService {
                    key: key(vip, kind.port(), protocol),
                    forward: kind.forward(),
                    members,
                });
            }
        }
    }
    for vip in EVERY_PORT_VIPS {
        services.push(DesiredService {
            key: key(vip, 0, service::TCP),
            forward: Kind::L2.forward(),
            members: vec![member(Kind::L2.backend(), 100)],
        });
    }
    let mut balancer = Balancer::load().expect("the kernel takes the program");
    balancer.tables().commit(&services, route).all().expect("the tables are large enough");
    balancer
}

/// The way to a backend, which its address tells.
#[must_use]
pub fn route(_: Forward, address: &Address) -> Option<Route> {
    let address = IpAddr::from(*address);
    let kind = Kind::ALL.iter().find(|kind| kind.backend() == address)?;
    kind.route()
}

/// The key of a service.
///
/// # Panics
/// If the address cannot be read.
#[must_use]
pub fn key(vip: &str, port: u16, protocol: u8) -> ServiceKey {
    let address: IpAddr = vip.parse().expect("service address");
    ServiceKey::new(address.into(), port, protocol)
}

/// A member with a weight, whose flows stay when it loses slots.
#[must_use]
pub fn member(address: IpAddr, weight: u32) -> DesiredMember {
    DesiredMember { address: address.into(), base_weight: 100, weight, flows: Flows::Stay }
}
