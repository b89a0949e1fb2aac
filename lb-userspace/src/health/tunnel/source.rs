//! Which address of this machine a check comes from, and whether its packets will find the device.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

use nix::{
    ifaddrs::{InterfaceAddress, getifaddrs},
    net::if_::InterfaceFlags,
    sys::socket::{setsockopt, sockopt},
};

use super::{device::MTU, error::NoWay, identity::Identity, options};

/// Any; nothing is sent to it.
const PORT: u16 = 1;

/// Our own address towards another one, as routes have it. To one of our own it is that one.
pub(super) fn towards(address: IpAddr) -> io::Result<IpAddr> {
    let anywhere: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((anywhere, 0))?;
    socket.connect((address, PORT))?;
    Ok(socket.local_addr()?.ip())
}

/// The address to ask `backend` from at `vip`: one that a backend which holds `vip` itself can answer
/// to. Of the backend's own family it is the one that tunnels to it come from.
pub(super) fn of(backend: IpAddr, vip: IpAddr) -> Result<IpAddr, NoWay> {
    if backend.is_ipv6() == vip.is_ipv6() {
        return towards(backend).map_err(|source| NoWay::NoRoute { backend, source });
    }
    match towards(vip) {
        Ok(address) if address != vip => Ok(address),
        _ => of_any_interface(vip).ok_or(NoWay::NoSource { vip }),
    }
}

/// An address of `vip`'s family that others may reach.
fn of_any_interface(vip: IpAddr) -> Option<IpAddr> {
    let usable = |found: InterfaceAddress| {
        let is_usable = found.flags.contains(InterfaceFlags::IFF_UP)
            && !found.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = found.address?;
        let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let ip = ipv4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))?;
        let is_other = ip != vip && ip.is_ipv6() == vip.is_ipv6() && !is_link_local(ip);
        (is_usable && is_other).then_some(ip)
    };
    getifaddrs().ok()?.find_map(usable)
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// That marked packets from `source` to `vip` go to the device. Its MTU tells it from the others:
/// `lo` and whatever leads to the network have larger ones, or the same by chance.
pub(super) fn require_device(identity: Identity, source: IpAddr, vip: IpAddr) -> Result<(), NoWay> {
    let mark = identity.mark();
    let mtu =
        marked_mtu(source, vip, mark).map_err(|source| NoWay::Refused { vip, mark, source })?;
    if mtu <= MTU {
        return Ok(());
    }
    Err(match towards(vip) {
        Ok(address) if address == vip => NoWay::VipIsHere { vip },
        _ => NoWay::Astray { vip, mark, device: identity.device() },
    })
}

fn marked_mtu(source: IpAddr, vip: IpAddr, mark: u32) -> io::Result<u32> {
    let socket = UdpSocket::bind((source, 0))?;
    setsockopt(&socket, sockopt::Mark, &mark)?;
    socket.connect((vip, PORT))?;
    let mtu = match vip {
        IpAddr::V4(_) => options::get(&socket, libc::IPPROTO_IP, libc::IP_MTU)?,
        IpAddr::V6(_) => options::get(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU)?,
    };
    Ok(mtu.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_address_is_reached_from_itself() {
        for text in ["127.0.0.1", "127.9.9.9", "::1"] {
            let address: IpAddr = text.parse().expect("an address");
            // Towards 127.0.0.0/8 the kernel prefers the interface's own address or the one asked.
            let own = towards(address).expect("loopback is up");
            assert!(own.is_loopback(), "{text}: {own}");
        }
    }

    #[test]
    fn others_are_not_asked_from_loopback_or_link_local_addresses() {
        for vip in ["192.0.2.1", "2001:db8::1"] {
            let vip: IpAddr = vip.parse().expect("an address");
            let Some(found) = of_any_interface(vip) else { continue };
            assert!(!found.is_loopback() && !is_link_local(found), "{found}");
            assert_eq!(found.is_ipv6(), vip.is_ipv6());
            assert_ne!(of_any_interface(found), Some(found));
        }
    }
}
