//! A backend's far end of tunnels, in user space: not every kernel has the devices for it.

use std::{
    collections::BTreeMap,
    ffi::c_int,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{
            MsgFlags, SockaddrStorage, recvfrom, sendto, setsockopt,
            sockopt::{RcvBufForce, ReceiveTimeout, SndBufForce},
        },
        time::{TimeVal, TimeValLike as _},
    },
};

use super::namespace::Namespace;

/// What was around a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outer {
    /// Where the tunnel came from.
    pub(crate) source: IpAddr,
    /// Number of the protocol inside.
    pub(crate) inner: u8,
    /// Bytes between the outer UDP header and the packet; `None` for IP in IP.
    pub(crate) gue: Option<[u8; 4]>,
}

/// What was around packets, by the port that they came from.
type Seen = Mutex<BTreeMap<u16, Vec<Outer>>>;

/// Opens tunnels in a namespace until it is dropped.
pub(crate) struct FarEnd {
    seen: Arc<Seen>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A socket by which tunnels come in.
struct Inlet {
    socket: OwnedFd,
    /// Bytes before the tunnel's payload.
    header: usize,
    /// The protocol inside; `None` if a GUE header says it.
    inner: Option<u8>,
}

impl FarEnd {
    /// Opens IP in IP, and GUE at this port.
    pub(crate) fn open(namespace: &Namespace, gue_port: u16) -> Self {
        let seen = Arc::<Seen>::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let (inlets, inwards) = namespace.enter(|| {
            let ipip = |family, header, inner| Inlet {
                socket: raw(family, inner),
                header,
                inner: Some(inner.try_into().expect("a protocol")),
            };
            let gue = |address: &str| Inlet {
                socket: UdpSocket::bind((address, gue_port)).expect("the port is free").into(),
                header: 0,
                inner: None,
            };
            let inlets = [
                // Over IPv4 the kernel leaves the outer header before it.
                ipip(libc::AF_INET, 20, libc::IPPROTO_IPIP),
                ipip(libc::AF_INET, 20, libc::IPPROTO_IPV6),
                ipip(libc::AF_INET6, 0, libc::IPPROTO_IPIP),
                ipip(libc::AF_INET6, 0, libc::IPPROTO_IPV6),
                gue("10.0.0.2"),
                gue("fd00::2"),
            ];
            for inlet in &inlets {
                setsockopt(&inlet.socket, RcvBufForce, &(8 << 20)).expect("as root");
                let limit = TimeVal::milliseconds(20);
                setsockopt(&inlet.socket, ReceiveTimeout, &limit).expect("a time-out");
            }
            let inwards = [libc::AF_INET, libc::AF_INET6].map(|family| {
                let socket = raw(family, libc::IPPROTO_RAW);
                setsockopt(&socket, SndBufForce, &(8 << 20)).expect("as root");
                socket
            });
            (inlets, inwards)
        });
        let inwards = Arc::new(inwards);
        let start = |inlet: Inlet| {
            let (seen, is_over) = (Arc::clone(&seen), Arc::clone(&is_over));
            let inwards = Arc::clone(&inwards);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    take(&inlet, &inwards, &seen);
                }
            })
        };
        let threads = inlets.map(start).into();
        Self { seen, is_over, threads }
    }

    /// What was around packets from this port, without repetitions.
    pub(crate) fn seen(&self, port: u16) -> Vec<Outer> {
        let seen = self.seen.lock().expect("the threads run");
        let mut seen = seen.get(&port).cloned().unwrap_or_default();
        seen.dedup();
        seen
    }

    /// Whether there was anything.
    pub(crate) fn has_seen_packets(&self) -> bool {
        !self.seen.lock().expect("the threads run").is_empty()
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the far end works");
        }
    }
}

/// Gives one packet to the machine, if one comes soon, as if it had come without a tunnel.
fn take(inlet: &Inlet, inwards: &[OwnedFd; 2], seen: &Seen) {
    let mut buffer = [0; 2048];
    let Ok((length, from)) = recvfrom::<SockaddrStorage>(inlet.socket.as_raw_fd(), &mut buffer)
    else {
        return;
    };
    let payload = &buffer[inlet.header..length];
    let (gue, packet) = match inlet.inner {
        Some(_) => (None, payload),
        None => {
            let (header, packet) = payload.split_first_chunk().expect("a GUE header");
            (Some(*header), packet)
        }
    };
    let inner = inlet.inner.or(gue.map(|header| header[1])).expect("one of them says it");
    let from = from.expect("a source");
    let ipv4 = from.as_sockaddr_in().map(|from| IpAddr::from(from.ip()));
    let source = ipv4.or_else(|| from.as_sockaddr_in6().map(|from| from.ip().into()));
    let source = source.expect("an IP address");
    let (inwards, segment, target) = if packet[0] >> 4 == 4 {
        let target = *packet[16..].first_chunk::<4>().expect("a header");
        (&inwards[0], &packet[20..], IpAddr::from(target))
    } else {
        let target = *packet[24..].first_chunk::<16>().expect("a header");
        (&inwards[1], &packet[40..], IpAddr::from(target))
    };
    let port = u16::from_be_bytes(*segment.first_chunk().expect("ports"));
    let outer = Outer { source, inner, gue };
    seen.lock().expect("nobody panics").entry(port).or_default().push(outer);
    let target = SockaddrStorage::from(SocketAddr::new(target, 0));
    // A target that the machine does not have leads nowhere, as it should.
    let _ = sendto(inwards.as_raw_fd(), packet, &target, MsgFlags::empty());
}

fn raw(family: c_int, protocol: c_int) -> OwnedFd {
    // SAFETY: takes numbers only.
    let result = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    let descriptor = Errno::result(result).map_err(io::Error::from).expect("a raw socket, as root");
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
