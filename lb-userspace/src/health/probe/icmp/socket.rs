//! Sockets that carry echo messages.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike as _,
        SockaddrStorage, bind, getsockname, recvfrom, sendto, setsockopt, socket, sockopt,
    },
};

use super::packet::{self, Answer, Family};

/// A socket that carries echo messages of one family. It never blocks.
#[derive(Debug)]
pub(super) struct EchoSocket {
    descriptor: OwnedFd,
    family: Family,
    kind: Kind,
    id: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Hears every ICMP message to this machine. Needs CAP_NET_RAW.
    Raw,
    /// Hears replies to its own requests alone. Needs a group in net.ipv4.ping_group_range, which
    /// holds for both families.
    Ping,
}

impl EchoSocket {
    /// Opens a raw socket, or one of the kernel's ping sockets where that is not allowed.
    pub(super) fn open(family: Family, source: Option<IpAddr>) -> Result<Self, Errno> {
        match Self::open_raw(family, source) {
            // The first error says what should be there.
            Err(Errno::EPERM) => Self::open_ping(family, source).map_err(|_| Errno::EPERM),
            opened => opened,
        }
    }

    fn open_raw(family: Family, source: Option<IpAddr>) -> Result<Self, Errno> {
        let descriptor = new_socket(family, SockType::Raw)?;
        filter(&descriptor, family)?;
        // Answers to thousands of requests may come while the reader waits for a processor. As much
        // as net.core.rmem_max allows.
        setsockopt(&descriptor, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        if let Some(source) = source {
            bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        }
        // The process and its other sockets are told apart well enough by 16 bits: tokens decide.
        let id = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0_u8) as u16;
        Ok(Self { descriptor, family, kind: Kind::Raw, id })
    }

    pub(super) fn open_ping(family: Family, source: Option<IpAddr>) -> Result<Self, Errno> {
        let descriptor = new_socket(family, SockType::Datagram)?;
        let source = source.unwrap_or(match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        });
        bind(descriptor.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
        let local: SockaddrStorage = getsockname(descriptor.as_raw_fd())?;
        // The kernel's choice stands where ports stand.
        let id = address(&local).map_or(0, |local| local.port());
        Ok(Self { descriptor, family, kind: Kind::Ping, id })
    }

    pub(super) const fn family(&self) -> Family {
        self.family
    }

    /// The identifier of its requests.
    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) fn send(&self, message: &[u8], mut remote: SocketAddr) -> Result<(), Errno> {
        // Where raw sockets of IPv6 have a port, the kernel reads a protocol.
        remote.set_port(0);
        let remote = SockaddrStorage::from(remote);
        sendto(self.descriptor.as_raw_fd(), message, &remote, MsgFlags::empty()).map(drop)
    }

    /// The next message; `None` if it is not about one of its requests.
    pub(super) fn receive(&self, packet: &mut [u8]) -> io::Result<Option<Answer>> {
        let (length, from) = recvfrom::<SockaddrStorage>(self.descriptor.as_raw_fd(), packet)?;
        Ok(from
            .as_ref()
            .and_then(address)
            .and_then(|from| self.parse(&packet[..length], from.ip())))
    }

    fn parse(&self, packet: &[u8], from: IpAddr) -> Option<Answer> {
        let message = match (self.kind, self.family) {
            (Kind::Raw, Family::V4) => packet::behind_ipv4(packet)?,
            _ => packet,
        };
        packet::parse(self.family, message, from).filter(|answer| answer.id == self.id)
    }
}

impl AsRawFd for EchoSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Bytes that the kernel keeps for the reader.
const RECEIVE_BUFFER: usize = 1024 * 1024;

fn new_socket(family: Family, kind: SockType) -> Result<OwnedFd, Errno> {
    let (family, protocol) = match family {
        Family::V4 => (AddressFamily::Inet, SockProtocol::Icmp),
        Family::V6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol)
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        AddressFamily::Inet => storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into())),
        AddressFamily::Inet6 => storage.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into())),
        _ => None,
    }
}

/// Lets replies and errors through alone, so that a flood of other messages wakes nobody.
fn filter(socket: &OwnedFd, family: Family) -> Result<(), Errno> {
    // From linux/icmp.h and linux/icmpv6.h; a set bit keeps a type away.
    const SOL_RAW: i32 = 255;
    const ICMP_FILTER: i32 = 1;
    const ICMPV6_FILTER: i32 = 1;

    match family {
        Family::V4 => {
            let kept_away: u32 = !(1 << 0 | 1 << 3 | 1 << 11);
            set(socket, SOL_RAW, ICMP_FILTER, &[kept_away])
        }
        Family::V6 => {
            let mut kept_away = [u32::MAX; 8];
            for kind in [1_usize, 3, 129] {
                kept_away[kind / 32] &= !(1 << (kind % 32));
            }
            set(socket, libc::SOL_ICMPV6, ICMPV6_FILTER, &kept_away)
        }
    }
}

fn set(socket: &OwnedFd, level: i32, option: i32, words: &[u32]) -> Result<(), Errno> {
    let length = size_of_val(words) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a slice that outlives the call, which only
    // reads from it.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, words.as_ptr().cast(), length)
    };
    Errno::result(result).map(drop)
}
