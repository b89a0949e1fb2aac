//! SYNs from invented sources, past the network stack.

use std::{
    ffi::CString,
    io,
    net::{SocketAddr, SocketAddrV4},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Instant,
};

use anyhow::{Context as _, bail};
use clap::Args;
use etherparse::PacketBuilder;

/// Send SYNs from invented sources as fast as possible
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where they go out.
    #[arg(long)]
    interface: String,
    /// The link-layer address of the next hop.
    #[arg(long)]
    gateway_mac: String,
    /// The service, over IPv4.
    #[arg(long)]
    target: SocketAddr,
    /// How many.
    #[arg(long)]
    count: u64,
}

/// Sent with one system call.
const BATCH: usize = 256;

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let SocketAddr::V4(target) = arguments.target else { bail!("floods are for IPv4") };
    let mac = read_mac(&arguments.gateway_mac)?;
    let socket = open(&arguments.interface)
        .with_context(|| format!("cannot send packets on {}", arguments.interface))?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut frames = vec![Syn::new(mac, target)?; BATCH];
    let (start, mut sent, mut refused) = (Instant::now(), 0, 0u64);
    while sent < arguments.count {
        let count = usize::try_from(arguments.count - sent).map_or(BATCH, |left| left.min(BATCH));
        frames[..count].iter_mut().for_each(|syn| syn.come_from(random.u16(..), random.u16(1..)));
        match send(&socket, &frames[..count]) {
            Ok(done) => sent += done as u64,
            // The queue is full, at the highest rate that there is.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => refused += 1,
            Err(error) => return Err(error).context("SYNs cannot be sent"),
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{sent} SYNs in {seconds:.1} s, {:.0} per second, {refused} times a full queue",
        sent as f64 / seconds
    );
    Ok(())
}

/// A frame with a SYN.
#[derive(Clone)]
struct Syn([u8; SYN]);

const SYN: usize = 14 + 20 + 20;

impl Syn {
    fn new(gateway: [u8; 6], target: SocketAddrV4) -> anyhow::Result<Self> {
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(OWN_MAC, gateway)
            .ipv4(SOURCES, target.ip().octets(), 64)
            .tcp(0, target.port(), 0, 64_240)
            .syn()
            .write(&mut frame, &[])
            .context("a SYN cannot be built")?;
        let frame = frame.try_into().ok().context("a SYN is longer than expected")?;
        Ok(Self(frame))
    }

    /// Gives it a source. What the source adds to the checksums, its complement in a field that
    /// nobody looks at takes away.
    fn come_from(&mut self, host: u16, port: u16) {
        const IDENTIFICATION: usize = 14 + 4;
        const SOURCE: usize = 14 + 12;
        const PORT: usize = 14 + 20;
        const SEQUENCE: usize = PORT + 4;
        for (at, value) in [
            (SOURCE + 2, host),
            (IDENTIFICATION, !host),
            (SEQUENCE, !host),
            (PORT, port),
            (SEQUENCE + 2, !port),
        ] {
            self.0[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// The network of the sources: RFC 2544 sets it apart for benchmarks.
const SOURCES: [u8; 4] = [198, 18, 0, 0];

/// Nobody answers to it.
const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xf1];

fn read_mac(text: &str) -> anyhow::Result<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
    bytes.with_context(|| format!("`{text}` is no link-layer address"))
}

/// A packet socket on an interface that takes nothing in and passes the queueing discipline by.
fn open(interface: &str) -> io::Result<OwnedFd> {
    let name = CString::new(interface)?;
    // SAFETY: the name is a string that lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no memory is handed over.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address lives until the call returns, and its size is told.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as u32)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let on: libc::c_int = 1;
    // SAFETY: the value lives until the call returns, and its size is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const on).cast(),
            size_of_val(&on) as u32,
        )
    };
    if result != 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Sends the frames; returns how many went out.
fn send(socket: &OwnedFd, frames: &[Syn]) -> io::Result<usize> {
    let mut pieces: Vec<_> = frames
        .iter()
        .map(|Syn(frame)| libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        })
        .collect();
    let mut messages: Vec<_> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: all zeros is a message without address, data and control data.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    // SAFETY: the messages name pieces of frames; all of them live until the call returns, and the
    // kernel only reads the frames.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    #[test]
    fn checksums_hold_for_every_source() {
        let mut syn = Syn::new([2; 6], "10.200.0.1:80".parse().unwrap()).unwrap();
        for (host, port) in [(0, 1), (1, 0xffff), (0xffff, 1), (0x1234, 0x5678)] {
            syn.come_from(host, port);
            let packet = SlicedPacket::from_ethernet(&syn.0).unwrap();
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) =
                (packet.net, packet.transport)
            else {
                panic!("no TCP over IPv4");
            };
            let (ip, tcp) = (ip.header().to_header(), tcp.to_header());
            assert_eq!(ip.source[2..], host.to_be_bytes());
            assert_eq!((tcp.source_port, tcp.syn), (port, true));
            assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "{host} {port}");
            assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(&ip, &[]).unwrap(), "{host} {port}");
        }
    }
}
