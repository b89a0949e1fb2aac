//! The client's own addresses and ports.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Source ports one after the other, so that flows spread and none is used again soon.
///
/// They lie below the range that the rig leaves to the kernel. Each client program begins at
/// another place, so that programs in one host rarely meet.
pub(crate) struct Sources {
    address: IpAddr,
    port: u16,
}

impl Sources {
    /// Those for requests to `target`.
    pub(crate) fn towards(target: SocketAddr) -> io::Result<Self> {
        let spread = std::process::id().wrapping_mul(7919) % u32::from(LAST - FIRST);
        Ok(Self {
            address: address_towards(target)?,
            port: FIRST + u16::try_from(spread).expect("it is less than the number of ports"),
        })
    }

    /// The next one; another program may have it.
    pub(crate) fn next(&mut self) -> SocketAddr {
        self.port = if self.port == LAST { FIRST } else { self.port + 1 };
        SocketAddr::new(self.address, self.port)
    }
}

const FIRST: u16 = 10_000;
const LAST: u16 = 59_999;

/// The address that the kernel would send from. A failed connection does not tell it any more.
pub(crate) fn address_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: connecting a datagram socket only looks up the route.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}
