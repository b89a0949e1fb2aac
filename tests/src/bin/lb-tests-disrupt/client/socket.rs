//! TCP and UDP sockets alike.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use lb_tests::disruption::{message::QUESTION, report::Protocol};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

/// The client's end of a flow.
pub(super) enum Socket {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Socket {
    /// Opens a flow from a port that the kernel chooses.
    pub(super) async fn open(
        protocol: Protocol,
        source: SocketAddr,
        target: SocketAddr,
    ) -> io::Result<Self> {
        match protocol {
            Protocol::Tcp => {
                let socket =
                    if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
                socket.bind(source)?;
                let stream = socket.connect(target).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(source).await?;
                socket.connect(target).await?;
                Ok(Self::Udp(socket))
            }
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        match self {
            Self::Tcp(_) => Protocol::Tcp,
            Self::Udp(_) => Protocol::Udp,
        }
    }

    pub(super) fn local(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }

    /// Waits until there may be something to read.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Udp(socket) => socket.readable().await,
        }
    }

    /// What has come: zero bytes are the end of a connection. [`ErrorKind::WouldBlock`] if nothing
    /// has.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Udp(socket) => loop {
                match socket.try_recv(buffer) {
                    // An ICMP error is about one datagram, which will be missed by its number.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                    result => return result,
                }
            },
        }
    }

    /// Sends a question, or nothing if the connection takes nothing more for now.
    pub(super) fn try_write(&self, question: &[u8; QUESTION]) -> io::Result<bool> {
        let result = match self {
            Self::Tcp(stream) => stream.try_write(question),
            // The error is about an earlier datagram.
            Self::Udp(socket) => socket.try_send(question).or_else(|_| socket.try_send(question)),
        };
        match (result, self.protocol()) {
            (Ok(QUESTION), _) => Ok(true),
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            // Lost on the way out; it will be missed.
            (Err(_), Protocol::Udp) => Ok(true),
            (Ok(_), _) => Err(io::Error::other("half a question was sent")),
            (Err(error), Protocol::Tcp) => Err(error),
        }
    }
}
