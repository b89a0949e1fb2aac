//! The sockets that errors come by.

use std::{
    io::{self, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
    time::Duration,
};

use lb_common::checksum;
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recv,
        recvmsg, setsockopt, socket, sockopt,
    },
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc::Sender,
    time::sleep,
};

use super::{Tunnel, Unreachable, quoted_backend};
use crate::datapath::sys;

/// Messages that are read at once, and how long nobody reads then.
const PER_ROUND: u32 = 128;
const ROUND: Duration = Duration::from_millis(100);
/// Messages of a family that are looked at in a second, at most. The kernel throws away what comes
/// beyond: anybody can send them.
pub const PER_SECOND: u32 = PER_ROUND * 10;
/// Room for messages that wait, in bytes.
const WAITING: usize = 1 << 16;

/// Destination unreachable and time exceeded: RFC 792. Those, and parameter problem: RFC 4443.
const KINDS: [u8; 2] = [3, 11];
const KINDS_IPV6: [u8; 3] = [1, 3, 4];

/// Listens for errors about our tunnels.
#[derive(Debug)]
pub struct Listener {
    ipv4: AsyncFd<OwnedFd>,
    /// `None` on a machine without IPv6.
    ipv6: Option<AsyncFd<OwnedFd>>,
    gue_port: u16,
}

impl Listener {
    /// Begins to listen, in the network namespace of the calling thread and the runtime that it runs
    /// in. This needs `CAP_NET_RAW`. Datagrams to another port than `gue_port` are no tunnels.
    pub fn open(gue_port: u16) -> io::Result<Self> {
        let ipv6 = match open(AddressFamily::Inet6, SockProtocol::IcmpV6) {
            Ok(socket) => {
                sys::take_icmpv6(&socket, &KINDS_IPV6)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                Some(watch(socket)?)
            }
            Err(Errno::EAFNOSUPPORT) => None,
            Err(error) => return Err(error.into()),
        };
        let ipv4 = open(AddressFamily::Inet, SockProtocol::Icmp)?;
        sys::take_icmp(&ipv4, &KINDS)?;
        Ok(Self { ipv4: watch(ipv4)?, ipv6, gue_port })
    }

    /// Sends what comes, until nobody receives it any more. What finds no room there is lost.
    pub async fn run(self, events: Sender<Unreachable>) -> io::Result<()> {
        let ipv4 = self.follow(&self.ipv4, read_ipv4, &events);
        let ipv6 = async {
            match &self.ipv6 {
                Some(socket) => self.follow(socket, read_ipv6, &events).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = events.closed() => Ok(()),
            ended = ipv4 => ended,
            ended = ipv6 => ended,
        }
    }

    async fn follow(
        &self,
        socket: &AsyncFd<OwnedFd>,
        read: fn(RawFd) -> nix::Result<Option<Unreachable>>,
        events: &Sender<Unreachable>,
    ) -> io::Result<()> {
        loop {
            let mut ready = socket.readable().await?;
            for _ in 0..PER_ROUND {
                let read = |socket: &AsyncFd<OwnedFd>| Ok(read(socket.as_raw_fd())?);
                match ready.try_io(read) {
                    Ok(Ok(Some(found))) if self.is_tunnel(&found) => {
                        let _ = events.try_send(found);
                    }
                    // The kernel also tells of messages that it had no room for.
                    Ok(_) => {}
                    Err(_nothing_waits) => break,
                }
            }
            sleep(ROUND).await;
        }
    }

    const fn is_tunnel(&self, found: &Unreachable) -> bool {
        match found.tunnel {
            Tunnel::Ipip => true,
            Tunnel::Udp(port) => port == self.gue_port,
        }
    }
}

fn open(family: AddressFamily, protocol: SockProtocol) -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Raw, flags, protocol)?;
    setsockopt(&socket, sockopt::RcvBuf, &WAITING)?;
    Ok(socket)
}

fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Longest message that is read: beyond come bytes of the packet in the tunnel only.
const LENGTH: usize = 256;

/// Reads an IP packet with a message. Whoever quotes a packet sends the error to its source.
fn read_ipv4(socket: RawFd) -> nix::Result<Option<Unreachable>> {
    let mut buffer = [0; LENGTH];
    let length = recv(socket, &mut buffer, MsgFlags::MSG_TRUNC)?;
    let packet = &buffer[..length.min(LENGTH)];
    let Some(header) = packet.first_chunk::<20>() else { return Ok(None) };
    let Some(message) = packet.get(usize::from(header[0] & 0x0f) * 4..) else { return Ok(None) };
    // Of longer ones the sum is not known.
    if length <= LENGTH && checksum::sum(message) != 0xffff {
        return Ok(None);
    }
    let to = IpAddr::from(Ipv4Addr::new(header[16], header[17], header[18], header[19]));
    Ok(quoted_backend(message).filter(|found| found.ours == to))
}

/// Reads a message, whose sum the kernel has looked at.
fn read_ipv6(socket: RawFd) -> nix::Result<Option<Unreachable>> {
    let mut buffer = [0; LENGTH];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let mut control = cmsg_space!(libc::in6_pktinfo);
    let received = recvmsg::<()>(socket, &mut slices, Some(&mut control), MsgFlags::empty())?;
    let to = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some(IpAddr::from(Ipv6Addr::from_octets(info.ipi6_addr.s6_addr)))
        }
        _ => None,
    });
    let length = received.bytes;
    Ok(quoted_backend(&buffer[..length]).filter(|found| Some(found.ours) == to))
}
