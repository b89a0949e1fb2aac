//! The sockets by which tunnelled packets leave. The kernel writes the outer headers and finds the
//! next hop; with GUE this writes the header between.

use std::{
    ffi::c_int,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use ipnet::IpNet;
use lb_common::{
    forward::{IP_IN_IP, IPV6_IN_IP},
    service::UDP,
};
use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, SockaddrStorage, bind, sendto},
};

use super::{
    error::TunnelError,
    exits::{Exit, Kind},
    options,
};

/// Room that [`Outlets::send`] needs before the packet: GUE's base header.
pub(super) const HEADROOM: usize = 4;

/// The ways out, by what is outside.
#[derive(Debug)]
pub(super) struct Outlets {
    gue_port: u16,
    over_ipv4: Outlet,
    over_ipv6: Option<Outlet>,
}

#[derive(Debug)]
struct Outlet {
    /// Raw sockets, by what is inside.
    with_ipv4: OwnedFd,
    with_ipv6: OwnedFd,
    gue: OwnedFd,
}

impl Outlets {
    /// Opens the sockets. Tunnels come from the first address of the prefix of their family, where
    /// `sources` has one, and otherwise from where routes decide.
    pub(super) fn open(gue_port: u16, sources: &[IpNet]) -> Result<Self, TunnelError> {
        let of = |is_ipv6| sources.iter().find(|net| net.network().is_ipv6() == is_ipv6).copied();
        let over_ipv4 = Outlet::open(libc::AF_INET, of(false))?;
        let over_ipv6 = match Outlet::open(libc::AF_INET6, of(true)) {
            Err(TunnelError::Socket { source, .. })
                if source.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) =>
            {
                None
            }
            outlet => Some(outlet?),
        };
        Ok(Self { gue_port, over_ipv4, over_ipv6 })
    }

    /// Whether this machine has IPv6.
    pub(super) const fn has_ipv6(&self) -> bool {
        self.over_ipv6.is_some()
    }

    /// Sends the packet in `buffer`, which begins after [`HEADROOM`].
    pub(super) fn send(&self, buffer: &mut [u8], exit: Exit) -> io::Result<()> {
        let outlet = match exit.backend {
            IpAddr::V4(_) => &self.over_ipv4,
            IpAddr::V6(_) => self.over_ipv6.as_ref().ok_or(Errno::EAFNOSUPPORT)?,
        };
        let is_ipv6 = buffer.get(HEADROOM).is_some_and(|first| first >> 4 == 6);
        let (socket, bytes, port) = match exit.kind {
            Kind::Ipip if is_ipv6 => (&outlet.with_ipv6, &buffer[HEADROOM..], 0),
            Kind::Ipip => (&outlet.with_ipv4, &buffer[HEADROOM..], 0),
            Kind::Gue => {
                buffer[..HEADROOM].copy_from_slice(&gue_header(is_ipv6));
                (&outlet.gue, &buffer[..], self.gue_port)
            }
        };
        let destination = SockaddrStorage::from(SocketAddr::new(exit.backend, port));
        sendto(socket.as_raw_fd(), bytes, &destination, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

impl Outlet {
    fn open(family: c_int, from: Option<IpNet>) -> Result<Self, TunnelError> {
        let open = |what, kind, protocol| {
            let opened = prepared(family, kind, protocol)
                .map_err(|source| TunnelError::Socket { what, source })?;
            if let Some(prefix) = from {
                come_from(&opened, prefix.network())
                    .map_err(|source| TunnelError::Source { prefix, source })?;
            }
            Ok(opened)
        };
        let raw = "a raw socket for IP in IP";
        Ok(Self {
            with_ipv4: open(raw, libc::SOCK_RAW, IP_IN_IP)?,
            with_ipv6: open(raw, libc::SOCK_RAW, IPV6_IN_IP)?,
            gue: open("a UDP socket for GUE", libc::SOCK_DGRAM, UDP)?,
        })
    }
}

/// A socket that hears nothing and sends packets as the XDP program does: never in fragments, and
/// over IPv4 without a UDP checksum, as the packet within has its own.
fn prepared(family: c_int, kind: c_int, protocol: u8) -> io::Result<OwnedFd> {
    let socket = options::socket(family, kind, protocol)?;
    options::deafen(&socket)?;
    if family == libc::AF_INET6 {
        options::set(&socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
    } else {
        let always = libc::IP_PMTUDISC_DO;
        options::set(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, always)?;
        options::set(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
    }
    Ok(socket)
}

/// Has a socket send from an address that this machine need not have.
fn come_from(socket: &OwnedFd, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => options::set(socket, libc::IPPROTO_IP, libc::IP_TRANSPARENT, 1)?,
        IpAddr::V6(_) => options::set(socket, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, 1)?,
    }
    let local = SockaddrStorage::from(SocketAddr::new(address, 0));
    Ok(bind(socket.as_raw_fd(), &local)?)
}

/// The base header of draft-ietf-intarea-gue-09, version 0 without flags: what the XDP program
/// writes for packets that have one backend only.
const fn gue_header(is_ipv6: bool) -> [u8; HEADROOM] {
    [0, if is_ipv6 { IPV6_IN_IP } else { IP_IN_IP }, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gue_names_what_is_inside() {
        assert_eq!(gue_header(false), [0, 4, 0, 0]);
        assert_eq!(gue_header(true), [0, 41, 0, 0]);
    }
}
