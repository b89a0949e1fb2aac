//! Where a check goes, and what its socket needs on the way.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    os::fd::BorrowedFd,
    sync::Arc,
    time::Duration,
};

use lb_common::Forward;

use crate::model::Protocol;

/// Has the packets of a socket take a certain way.
pub trait Steer: fmt::Debug + Send + Sync {
    /// Prepares a socket that is bound and not connected yet.
    fn steer(&self, socket: BorrowedFd<'_>, flow: &CheckFlow) -> io::Result<()>;
}

/// What a check's socket is going to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckFlow {
    /// Of its packets.
    pub protocol: Protocol,
    /// Address and port that it is bound to.
    pub local: SocketAddr,
    /// What it is going to connect to.
    pub remote: SocketAddr,
    /// How long it stays open at the most.
    pub lasts: Duration,
}

/// Where a check goes.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What the socket connects to: the backend, or the service's address on it where a way is
    /// steered. The port is 0 for probes that need none.
    pub remote: SocketAddr,
    /// Address of this machine to come from; `None` lets routes decide.
    pub source: Option<IpAddr>,
    /// What is to be done to each socket before it connects.
    pub steer: Option<Arc<dyn Steer>>,
}

/// The tunnels through which clients' packets get to backends.
pub trait Tunnels: fmt::Debug + Send + Sync {
    /// How a check travels to the service's address `vip` on a backend: the address of this machine
    /// that it comes from, and what its sockets need.
    fn to(
        &self,
        backend: IpAddr,
        forward: Forward,
        vip: IpAddr,
    ) -> io::Result<(IpAddr, Arc<dyn Steer>)>;
}
