//! Has the packets of checks' sockets take the tunnels.

use std::{io, net::IpAddr, os::fd::BorrowedFd, sync::Arc, time::Instant};

use lb_common::Forward;
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};

use super::{
    error::NoWay,
    exits::{Exit, Exits, Kind},
    faults::Faults,
    identity::Identity,
    source,
    ways::{Way, Ways},
};
use crate::health::{CheckFlow, Steer, Tunnels};

/// What checks and the reader share.
#[derive(Debug)]
pub(super) struct Steering {
    pub(super) identity: Identity,
    pub(super) ipv6: Ipv6,
    pub(super) exits: Exits,
    pub(super) faults: Faults,
}

/// Where this machine has IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ipv6 {
    /// Towards backends.
    pub(super) outside: bool,
    /// On the device.
    pub(super) inside: bool,
}

impl Steering {
    fn require_order(&self) -> Result<(), NoWay> {
        self.faults.first().map_or(Ok(()), |fault| Err(NoWay::OutOfOrder(fault)))
    }
}

/// The handle that checks get.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) steering: Arc<Steering>,
    pub(super) ways: Ways,
}

impl Tunnels for Handle {
    fn to(
        &self,
        backend: IpAddr,
        forward: Forward,
        vip: IpAddr,
    ) -> io::Result<(IpAddr, Arc<dyn Steer>)> {
        self.steering.require_order()?;
        let kind = Kind::of(forward).ok_or(NoWay::NoTunnel)?;
        let exit = Exit { backend, kind };
        Ok(self.ways.find_at(Instant::now(), exit, vip, || self.find(exit, vip))?)
    }
}

impl Handle {
    fn find(&self, exit: Exit, vip: IpAddr) -> Result<Way, NoWay> {
        let steering = &self.steering;
        for (address, has_ipv6) in
            [(exit.backend, steering.ipv6.outside), (vip, steering.ipv6.inside)]
        {
            if address.is_ipv6() && !has_ipv6 {
                return Err(NoWay::NoIpv6(address));
            }
        }
        // What is for this machine itself gets no tunnel.
        let is_here = |address| source::towards(address).is_ok_and(|own| own == address);
        let is_own = is_here(exit.backend);
        if is_own && is_here(vip) {
            return Ok((vip, Arc::new(Here)));
        }
        let source = source::of(exit.backend, vip)?;
        source::require_device(steering.identity, source, vip)?;
        let exit = (!is_own).then_some(exit);
        Ok((source, Arc::new(Through { steering: Arc::clone(steering), exit })))
    }
}

/// The way through one backend's tunnel.
#[derive(Debug)]
struct Through {
    steering: Arc<Steering>,
    /// `None` if the backend is this machine, and does not have the service's address: packets of
    /// clients for it are lost, and so are these.
    exit: Option<Exit>,
}

impl Steer for Through {
    fn steer(&self, socket: BorrowedFd<'_>, flow: &CheckFlow) -> io::Result<()> {
        if self.steering.faults.first().is_some() {
            // Callers look at the number only; the words come when the next way is asked for.
            return Err(Errno::ENETDOWN.into());
        }
        setsockopt(&socket, sockopt::Mark, &self.steering.identity.mark())?;
        self.steering.exits.set_at(Instant::now(), flow, self.exit);
        Ok(())
    }
}

/// The way to this machine, which has the service's address.
#[derive(Debug)]
struct Here;

impl Steer for Here {
    fn steer(&self, _: BorrowedFd<'_>, _: &CheckFlow) -> io::Result<()> {
        Ok(())
    }
}
