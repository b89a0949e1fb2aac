//! Checks that travel as clients' packets do: through a tunnel to one backend, addressed to the
//! service.
//!
//! The sockets are ordinary ones, so every kind of check can use them. A mark leads what they send
//! to a TUN device, from which it is sent on with the outer headers of `ipip` or `gue`, as the
//! XDP program would. Backends answer from the service's address straight to this machine.
//!
//! ```text
//! socket --mark--> rule --> route --> lbcheck0 --> reader --> raw or UDP socket --> backend
//!    ^                                                                                 |
//!    +---------------------------- from the service's address -------------------------+
//! ```
//!
//! | file | one idea |
//! |---|---|
//! | `identity` | device, mark and table of one path, which no other has |
//! | `device` `netlink` `routing` `guard` | what leads packets to the device, and stays |
//! | `source` `steering` `ways` | which way a check's socket takes |
//! | `faults` | what keeps checks from being made |
//! | `packet` `exits` `outlets` `reader` | what becomes of its packets |
//!
//! It needs `CAP_NET_ADMIN`, `CAP_NET_RAW` and `/dev/net/tun`.

mod device;
mod error;
mod exits;
mod faults;
mod guard;
mod identity;
mod netlink;
mod options;
mod outlets;
mod packet;
mod reader;
mod routing;
mod source;
mod steering;
mod ways;

use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::task::JoinHandle;

use self::{
    device::Device,
    exits::Exits,
    faults::{Faults, Part},
    guard::Guard,
    outlets::Outlets,
    reader::{Counters, Reader},
    routing::Routing,
    steering::{Handle, Ipv6, Steering},
    ways::Ways,
};
use super::Tunnels;

pub use self::{error::TunnelError, reader::TunnelCounts};

/// The path of checks through tunnels. Its rules go when it is dropped, its device and routes when
/// its task ends soon after; [`Self::close`] waits for that.
#[derive(Debug)]
pub struct TunnelPath {
    routing: Arc<Mutex<Routing>>,
    handle: Arc<Handle>,
    counters: Arc<Counters>,
    reader: JoinHandle<()>,
    guard: JoinHandle<()>,
}

impl TunnelPath {
    /// Opens the path in this thread's network namespace. Tunnels of GUE go to `gue_port`; `sources`
    /// has at most a prefix of each family, from whose first address tunnels come in the place of
    /// this machine's own. Must be called in a runtime.
    pub fn open(gue_port: u16, sources: &[IpNet]) -> Result<Self, TunnelError> {
        let outlets = Outlets::open(gue_port, sources)?;
        routing::remove_leftovers()?;
        let (identity, device) = Device::open()?;
        let ipv6 =
            Ipv6 { outside: outlets.has_ipv6(), inside: Device::takes_ipv6(&identity.device()) };
        let mut routing = Routing::new(identity, device.index, ipv6.inside);
        if let Err(error) = routing.install() {
            // Why it failed is worth more than what is left, which the next start removes.
            let _ = routing.close();
            return Err(error);
        }
        let routing = Arc::new(Mutex::new(routing));
        let steering = Arc::new(Steering {
            identity,
            ipv6,
            exits: Exits::default(),
            faults: Faults::default(),
        });
        let handle = Arc::new(Handle { steering: Arc::clone(&steering), ways: Ways::default() });
        let counters = Arc::new(Counters::default());
        let guard = Guard { routing: Arc::clone(&routing), handle: Arc::clone(&handle) };
        let reader = Reader { device, outlets, steering, counters: Arc::clone(&counters) };
        Ok(Self {
            routing,
            handle,
            counters,
            reader: tokio::spawn(reader.run()),
            guard: tokio::spawn(guard.run()),
        })
    }

    /// What checks ask for their ways. Outlives the path, and then has none.
    #[must_use]
    pub fn tunnels(&self) -> Arc<dyn Tunnels> {
        Arc::<Handle>::clone(&self.handle)
    }

    /// Name of the device.
    #[must_use]
    pub fn device(&self) -> String {
        self.handle.steering.identity.device()
    }

    /// What keeps checks from being made, if anything does.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.handle.steering.faults.first()
    }

    /// What became of packets.
    #[must_use]
    pub fn counts(&self) -> TunnelCounts {
        self.counters.read()
    }

    /// Removes rules, routes and device. An error says that rules are left.
    pub async fn close(mut self) -> Result<(), TunnelError> {
        let closed = self.shut();
        // It was stopped, which is not worth a word.
        let _ = (&mut self.reader).await;
        closed
    }

    fn shut(&self) -> Result<(), TunnelError> {
        let fault = "the path for checks through tunnels was closed".to_owned();
        self.handle.steering.faults.set(Part::Reader, Some(fault));
        self.guard.abort();
        self.reader.abort();
        self.routing.lock().unwrap_or_else(PoisonError::into_inner).close()
    }
}

impl Drop for TunnelPath {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::warn!(%error, "rules are left until a load balancer starts here again");
        }
    }
}
