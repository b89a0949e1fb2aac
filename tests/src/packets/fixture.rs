//! Services whose backend is known beforehand: each has one, so no hash decides.

use std::net::IpAddr;

use lb_common::{
    Address, Forward, Link, NextHop, ServiceKey, backend::HERE, forward::gue, service,
};
use lb_userspace::datapath::{
    desired::{DesiredMember, DesiredPing, DesiredService, Flows, Route},
    policies::DesiredPolicy,
};

use super::{
    balancer::Balancer,
    program::INGRESS,
    shape::BALANCER_LINK,
    tunnel::{Carrier, Gue, Tunnel, Variant},
};

/// Every service's address, IPv4 and IPv6.
pub const VIPS: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
/// The address of the services that have every port, which answers echo requests.
pub const EVERY_PORT_VIPS: [&str; 2] = ["10.200.0.2", "fd00:200::2"];
/// The address of TCP services on port 80 that tell flows apart by client address alone.
pub const BY_ADDRESS_VIPS: [&str; 2] = ["10.200.0.4", "fd00:200::4"];
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
    /// `gue` to an IPv4 backend.
    Gue = 93,
    /// `gue` to an IPv6 backend.
    GueOverIpv6 = 94,
    /// `gue` to an IPv6 backend behind a small MTU.
    SmallMtuGue = 95,
    /// Its backend is on the balancer's own machine.
    Here = 96,
    /// It has no backend, and tells its clients.
    Refusing = 97,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::L2,
        Self::OverIpv4,
        Self::OverIpv6,
        Self::OtherInterface,
        Self::SmallMtu,
        Self::SmallMtuIpv6,
        Self::SmallMtuL2,
        Self::NoNextHop,
        Self::NoBackend,
        Self::Gue,
        Self::GueOverIpv6,
        Self::SmallMtuGue,
        Self::Here,
        Self::Refusing,
    ];

    /// Its port.
    #[must_use]
    pub const fn port(self) -> u16 {
        self as u16
    }

    const fn forward(self) -> Forward {
        match self {
            Self::L2 | Self::SmallMtuL2 | Self::Here => Forward::L2,
            Self::Gue | Self::GueOverIpv6 | Self::SmallMtuGue => Forward::Gue,
            _ => Forward::Ipip,
        }
    }

    /// The backend of the service.
    #[must_use]
    pub fn backend(self) -> IpAddr {
        match self {
            Self::OverIpv6 | Self::SmallMtuIpv6 | Self::GueOverIpv6 | Self::SmallMtuGue => {
                [0xfd00, 1, 0, 0, 0, 0, 0, self.port()].into()
            }
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
                Self::Here => HERE,
                _ => INGRESS,
            },
            mtu: match self {
                Self::SmallMtu | Self::SmallMtuIpv6 | Self::SmallMtuL2 | Self::SmallMtuGue => {
                    SMALL_MTU
                }
                _ => 1500,
            },
            vlan: 0,
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

    /// Whether it has no backend.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::NoBackend | Self::Refusing)
    }

    /// The tunnel to the backend, for a packet with this traffic class and a checksum of its own,
    /// and a flow with this label, which of a port of GUE makes a part.
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
            carrier: self.carrier(flow_label),
        }
    }
}

impl Kind {
    fn carrier(self, flow_label: u32) -> Carrier {
        if self.forward() != Forward::Gue {
            return Carrier::Ip;
        }
        Carrier::Gue(Gue {
            // One of the dynamic ports, from the same bits as the label.
            ports: [flow_label as u16 | 0xc000, gue::PORT],
            is_summed: self.backend().is_ipv6(),
            variant: Variant::Header(Vec::new()),
        })
    }

    fn service(self, vip: &str, protocol: u8) -> DesiredService {
        let members = if self.is_empty() { Vec::new() } else { vec![member(self.backend(), 100)] };
        let policy = DesiredPolicy { refuses: self == Self::Refusing, ..DesiredPolicy::default() };
        let key = key(vip, self.port(), protocol);
        DesiredService { policy, ..DesiredService::plain(key, self.forward(), members) }
    }
}

/// A balancer with a service of each kind for both families and protocols, and with the TCP
/// services of [`EVERY_PORT_VIPS`] and [`BY_ADDRESS_VIPS`], forwarded as [`Kind::L2`].
///
/// # Panics
/// If the kernel refuses.
#[must_use]
pub fn balancer() -> Balancer {
    let mut services = Vec::new();
    for vip in VIPS {
        for protocol in [service::TCP, service::UDP] {
            services.extend(Kind::ALL.map(|kind| kind.service(vip, protocol)));
        }
    }
    for vip in EVERY_PORT_VIPS {
        let key = key(vip, 0, service::TCP);
        let members = vec![member(Kind::L2.backend(), 100)];
        let service = DesiredService::plain(key, Kind::L2.forward(), members);
        services.push(DesiredService { ping: Some(DesiredPing::Answer), ..service });
    }
    for vip in BY_ADDRESS_VIPS {
        let policy = DesiredPolicy { by_address: true, ..DesiredPolicy::default() };
        let members = vec![member(Kind::L2.backend(), 100)];
        let key = key(vip, 80, service::TCP);
        let service = DesiredService::plain(key, Kind::L2.forward(), members);
        services.push(DesiredService { policy, ..service });
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
    DesiredMember { address: address.into(), port: 0, base_weight: 100, weight, flows: Flows::Stay }
}
