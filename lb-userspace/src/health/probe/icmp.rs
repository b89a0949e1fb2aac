//! The check that a backend answers an ICMP echo request: "ping".
//!
//! A raw socket hears all ICMP messages of this machine, so one for each check would make the work
//! grow with the square of their number. All checks of a family share one; who asks for a source
//! address shares one that is bound to it.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nix::errno::Errno;
use tokio::task::AbortHandle;

use super::Budget;
use crate::health::{CheckFailure, Endpoint};

mod echoes;
mod packet;
mod socket;

use echoes::Echoes;
use packet::{Family, Heard};
use socket::EchoSocket;

/// Asks once; returns how long the answer took.
///
/// A message that the backend or the network between could not be reached fails at once. (It is not
/// heard where this process may not open raw sockets and has the kernel's ping sockets instead.)
pub(super) async fn check(
    endpoint: &Endpoint,
    pinger: &Pinger,
    budget: &Budget,
) -> Result<Duration, CheckFailure> {
    if endpoint.steer.is_some() {
        return Err(CheckFailure::Impossible("ICMP cannot take the way of clients".to_owned()));
    }
    let echoes = pinger.echoes(endpoint)?;
    let mut echo = echoes.begin(endpoint.remote.ip())?;
    echoes
        .send(&echo, endpoint.remote)
        .await
        .map_err(|error| CheckFailure::from_connect(&error))?;
    match budget.take(echo.heard()).await {
        Ok(Heard::Reply(latency)) => Ok(latency),
        Ok(Heard::Unreachable(errno)) => Err(CheckFailure::Unreachable(errno)),
        Err(_) => Err(CheckFailure::NoAnswer(budget.limit())),
    }
}

/// The sockets that echo checks share. They are opened when they are first needed, and closed with
/// it.
#[derive(Debug, Default)]
pub(crate) struct Pinger {
    shared: Mutex<HashMap<(Family, Option<IpAddr>), Shared>>,
}

#[derive(Debug)]
struct Shared {
    echoes: Arc<Echoes>,
    reader: AbortHandle,
}

impl Pinger {
    /// Must be called in a runtime, which must last as long as this.
    fn echoes(&self, endpoint: &Endpoint) -> Result<Arc<Echoes>, CheckFailure> {
        let family = match endpoint.remote {
            SocketAddr::V4(_) => Family::V4,
            SocketAddr::V6(_) => Family::V6,
        };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = match shared.entry((family, endpoint.source)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Shared::open(family, endpoint.source)?),
        };
        Ok(Arc::clone(&shared.echoes))
    }
}

impl Shared {
    fn open(family: Family, source: Option<IpAddr>) -> Result<Self, CheckFailure> {
        let socket = EchoSocket::open(family, source).map_err(|errno| match errno {
            Errno::EPERM | Errno::EACCES => CheckFailure::Impossible(
                "ICMP needs CAP_NET_RAW, or a group of lbd in net.ipv4.ping_group_range".to_owned(),
            ),
            errno => CheckFailure::from_connect(&errno.into()),
        })?;
        Self::over(socket).map_err(|error| CheckFailure::from_connect(&error))
    }

    fn over(socket: EchoSocket) -> io::Result<Self> {
        let echoes = Arc::new(Echoes::new(socket)?);
        let reader = tokio::spawn(Arc::clone(&echoes).read()).abort_handle();
        Ok(Self { echoes, reader })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests;
