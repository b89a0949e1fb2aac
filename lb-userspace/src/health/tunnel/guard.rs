//! Keeps rules and routes in place: programs that manage the network remove what they do not know.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, StreamExt as _};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    error::TunnelError,
    faults::Part,
    routing::{Found, Routing},
    steering::Handle,
};

/// Looks that no event calls for: a route that is removed from the table is not told.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);
/// Changes rarely come alone.
const BURST: Duration = Duration::from_millis(10);
/// Time before another attempt when the kernel tells nothing.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps rules and routes in place.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) routing: Arc<Mutex<Routing>>,
    pub(super) handle: Arc<Handle>,
}

impl Guard {
    pub(super) async fn run(self) {
        loop {
            let Err(error) = self.follow().await;
            tracing::debug!(%error, "rules are looked at without being told of changes");
            self.look().await;
            sleep(RETRY).await;
        }
    }

    /// Returns when no more events come.
    async fn follow(&self) -> io::Result<std::convert::Infallible> {
        let groups = [MulticastGroup::Ipv4Rule, MulticastGroup::Ipv6Rule];
        let (connection, _handle, events) = new_multicast_connection(&groups)?;
        tokio::select! {
            () = connection => Err(io::ErrorKind::BrokenPipe.into()),
            error = self.look_when_told(events) => Err(error),
        }
    }

    async fn look_when_told<T>(&self, mut events: impl Stream<Item = T> + Unpin) -> io::Error {
        loop {
            self.look().await;
            match timeout(LOOK_ANYWAY, events.next()).await {
                Ok(None) => return io::ErrorKind::BrokenPipe.into(),
                Ok(Some(_)) => {
                    sleep(BURST).await;
                    while let Some(Some(_)) = events.next().now_or_never() {}
                    self.handle.ways.forget();
                }
                Err(_) => {}
            }
        }
    }

    /// Makes what is missing. Not on a thread of the runtime: the kernel's lock may be held for long.
    async fn look(&self) {
        let routing = Arc::clone(&self.routing);
        let install = move || routing.lock().unwrap_or_else(PoisonError::into_inner).install();
        // It fails only when the runtime ends.
        if let Ok(found) = spawn_blocking(install).await {
            self.note(found);
        }
    }

    fn note(&self, found: Result<Found, TunnelError>) {
        let device = self.handle.steering.identity.device();
        if let Ok(Found::Mended) = found {
            tracing::warn!(
                device,
                "rules or routes for checks through tunnels were gone, and are made again"
            );
        }
        let fault = found.err().map(|error| error.to_string());
        if self.handle.steering.faults.set(Part::Routing, fault.clone()) {
            match fault {
                Some(fault) => tracing::warn!(fault, "backends are not checked through tunnels"),
                None => tracing::info!(device, "backends are checked through tunnels again"),
            }
        }
    }
}
