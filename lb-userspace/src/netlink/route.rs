//! What the kernel's routing says about an address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
        RouteType, RouteVia,
    },
};
use nix::errno::Errno;

use super::way::Fault;

/// Where the kernel takes packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It sends them to another machine.
    Hop(Hop),
    /// It keeps them: the address is this machine's own.
    Here,
}

/// Where the kernel sends packets for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// Index of the interface.
    pub(super) interface: u32,
    /// Who takes the packets there: a gateway, of either family, or the address itself.
    pub(super) neighbour: IpAddr,
    /// Our own address towards it.
    pub(super) source: IpAddr,
    /// Largest packet, if the route has an opinion.
    pub(super) mtu: Option<u32>,
}

/// The question for the way to `address`, as `ip route get` asks.
pub(super) fn question(address: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message
}

/// Reads the answer to [`question`].
pub(super) fn next(address: IpAddr, answer: &RouteMessage) -> Result<Next, Fault> {
    let no_route = |reason: &str| Err(Fault::NoRoute(reason.into()));
    match answer.header.kind {
        RouteType::Unicast => {}
        RouteType::Local => return Ok(Next::Here),
        RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => {
            return no_route("it is not the address of a single machine");
        }
        RouteType::BlackHole => return no_route(BLACKHOLE),
        RouteType::Prohibit => return no_route(PROHIBIT),
        _ => return no_route(UNREACHABLE),
    }
    let found = Attributes::read(&answer.attributes);
    // The kernel answers with the path it chose; a list comes only from one that did not choose.
    let chosen = found
        .paths
        .iter()
        .find(|path| !path.flags.intersects(UNUSABLE))
        .map(|path| (path.interface_index, Attributes::read(&path.attributes)));
    let (interface, gateway, is_tunnel) = match &chosen {
        Some((interface, path)) => (Some(*interface), path.gateway, path.is_tunnel),
        None => (found.interface, found.gateway, found.is_tunnel),
    };
    if is_tunnel {
        return no_route("it leads through a tunnel of the route's own, which lb cannot use");
    }
    let Some(interface) = interface else {
        return no_route("the kernel names no interface for it");
    };
    Ok(Next::Hop(Hop {
        interface,
        neighbour: gateway.unwrap_or(address),
        source: found.source.unwrap_or(match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }),
        mtu: found.mtu,
    }))
}

/// Reads a refusal to answer [`question`]; `None` if it says nothing about the route.
pub(super) fn refusal(error: &io::Error) -> Option<Fault> {
    let reason = match Errno::from_raw(error.raw_os_error()?) {
        // This is how the kernel tells of routes that it does not follow, see fib_props in
        // https://github.com/torvalds/linux/blob/v6.12/net/ipv4/fib_semantics.c#L82
        Errno::EINVAL => BLACKHOLE.into(),
        Errno::EACCES => PROHIBIT.into(),
        Errno::EHOSTUNREACH => UNREACHABLE.into(),
        Errno::ENETUNREACH | Errno::ESRCH => {
            "nothing in the routing table matches the address".into()
        }
        Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP => "this kernel has no such address family".into(),
        Errno::ENOBUFS | Errno::ENOMEM | Errno::EPERM | Errno::EAGAIN | Errno::EBUSY => {
            return None;
        }
        other => other.desc().to_lowercase(),
    };
    Some(Fault::NoRoute(reason))
}

const BLACKHOLE: &str = "a blackhole route swallows its packets";
const PROHIBIT: &str = "a prohibit route forbids it";
const UNREACHABLE: &str = "an unreachable route refuses it";
const UNUSABLE: RouteNextHopFlags = RouteNextHopFlags::Dead.union(RouteNextHopFlags::Linkdown);

/// The attributes that matter, of a route or of one of its paths.
#[derive(Default)]
struct Attributes<'a> {
    interface: Option<u32>,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
    mtu: Option<u32>,
    is_tunnel: bool,
    paths: &'a [RouteNextHop],
}

impl<'a> Attributes<'a> {
    fn read(attributes: &'a [RouteAttribute]) -> Self {
        let mut found = Self::default();
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => found.interface = Some(*index),
                RouteAttribute::Gateway(address) => found.gateway = ip(address),
                RouteAttribute::Via(RouteVia::Inet(address)) => {
                    found.gateway = Some((*address).into());
                }
                RouteAttribute::Via(RouteVia::Inet6(address)) => {
                    found.gateway = Some((*address).into());
                }
                RouteAttribute::PrefSource(address) => found.source = ip(address),
                RouteAttribute::Metrics(metrics) => {
                    found.mtu = metrics.iter().find_map(|metric| match metric {
                        RouteMetric::Mtu(mtu) => Some(*mtu),
                        _ => None,
                    });
                }
                RouteAttribute::EncapType(_) => found.is_tunnel = true,
                RouteAttribute::MultiPath(paths) => found.paths = paths,
                _ => {}
            }
        }
        found
    }
}

/// The address in an attribute.
pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
