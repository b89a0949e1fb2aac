//! Sockets to backends: bound, steered, and gone without a trace.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use futures_util::future::poll_immediate;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, UdpSocket},
};

use super::Budget;
use crate::{
    health::{CheckFailure, CheckFlow, Endpoint},
    model::Protocol,
};

/// A connection that parts cleanly, and at once, wherever a check ends.
///
/// The side that ends a TCP connection first keeps it for 60 s in TIME_WAIT, and here this would be
/// us: 1,000 backends at two checks a second would hold 120,000 of them. So the end is said twice.
/// First comes a FIN, so that the server reads a clean end of the stream and has nothing to log;
/// then the socket is closed with a linger time of 0, which sends a RST and forgets at once. A RST
/// alone would make the server's first read fail with "connection reset by peer".
#[derive(Debug)]
pub(super) struct Connection(Option<TcpStream>);

/// Connects within the time that is left.
pub(super) async fn connect(
    endpoint: &Endpoint,
    budget: &Budget,
) -> Result<Connection, CheckFailure> {
    let socket = tcp(endpoint, budget)?;
    let mut connecting = pin!(budget.take(socket.connect(endpoint.remote)));
    // What the kernel says at once, this machine says; what it says later, the network has said.
    let (connected, failure): (_, fn(&io::Error) -> CheckFailure) =
        match poll_immediate(connecting.as_mut()).await {
            Some(connected) => (connected, CheckFailure::from_connect),
            None => (connecting.await, CheckFailure::from_network),
        };
    let stream = connected
        .map_err(|_| CheckFailure::TimedOut(budget.limit()))?
        .map_err(|error| failure(&error))?;
    Ok(Connection(Some(stream)))
}

/// A TCP socket that is bound, if there is anything to bind it to, and steered.
fn tcp(endpoint: &Endpoint, budget: &Budget) -> Result<TcpSocket, CheckFailure> {
    let open = || {
        let socket = match endpoint.remote {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_zero_linger()?;
        socket.set_nodelay(true)?;
        Ok(socket)
    };
    let socket = open().map_err(|error| local_trouble(&error))?;
    if endpoint.source.is_none() && endpoint.steer.is_none() {
        return Ok(socket);
    }
    let bind = |local| {
        if endpoint.steer.is_none() {
            // The port is chosen when the other end is known, and so need not be free towards all
            // others as well. Who steers must know it before.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        }
        socket.bind(local)
    };
    bind(local(endpoint)?).map_err(|error| local_trouble(&error))?;
    steer(endpoint, Protocol::Tcp, budget, socket.as_fd(), || socket.local_addr())?;
    Ok(socket)
}

/// A UDP socket that is bound, steered and connected, so that ICMP errors come back to it.
pub(super) async fn udp(endpoint: &Endpoint, budget: &Budget) -> Result<UdpSocket, CheckFailure> {
    let binding = UdpSocket::bind(local(endpoint)?).await;
    let socket = binding.map_err(|error| local_trouble(&error))?;
    steer(endpoint, Protocol::Udp, budget, socket.as_fd(), || socket.local_addr())?;
    let connecting = socket.connect(endpoint.remote).await;
    connecting.map_err(|error| CheckFailure::from_connect(&error))?;
    Ok(socket)
}

fn steer(
    endpoint: &Endpoint,
    protocol: Protocol,
    budget: &Budget,
    socket: BorrowedFd<'_>,
    local: impl FnOnce() -> io::Result<SocketAddr>,
) -> Result<(), CheckFailure> {
    let Some(steer) = &endpoint.steer else { return Ok(()) };
    let steering = local().and_then(|local| {
        let (remote, lasts) = (endpoint.remote, budget.limit());
        steer.steer(socket, &CheckFlow { protocol, local, remote, lasts })
    });
    steering.map_err(|error| local_trouble(&error))
}

/// Where a socket is bound to; the kernel chooses the port.
fn local(endpoint: &Endpoint) -> Result<SocketAddr, CheckFailure> {
    let unspecified = match endpoint.remote {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let source = endpoint.source.unwrap_or(unspecified);
    if source.is_ipv4() != unspecified.is_ipv4() {
        let remote = endpoint.remote.ip();
        let why = format!("the source {source} is of another IP version than {remote}");
        return Err(CheckFailure::Impossible(why));
    }
    Ok(SocketAddr::new(source, 0))
}

/// What goes wrong before a packet is sent says nothing about the backend, whatever it is.
fn local_trouble(error: &io::Error) -> CheckFailure {
    match CheckFailure::from_connect(error) {
        CheckFailure::Unreachable(errno) => CheckFailure::Local(errno),
        failure => failure,
    }
}

impl Connection {
    fn stream(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        // Only the end takes it out.
        self.get_mut().0.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Out of the runtime first: a server on this machine can answer the FIN within microseconds,
        // and after that only TIME_WAIT is left.
        if let Some(Ok(stream)) = self.0.take().map(TcpStream::into_std) {
            // Fails if the server has gone already, which was not the question.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    /// Leaves the FIN to the end, where no time passes between it and the RST.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}
