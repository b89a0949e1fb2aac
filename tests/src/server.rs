//! The servers behind the balancer.

use std::{net::SocketAddr, time::Duration};

use crate::{daemon::Daemon, error::RigError, host::Host, program};

/// A running `lb-tests-server` in a backend's host.
#[derive(Debug)]
pub struct Server(Daemon);

impl Server {
    /// Starts the server, named after the host, and waits until it listens on all addresses.
    ///
    /// [`Topology::start_server`](crate::Topology::start_server) knows the usual ones.
    pub fn start(
        host: &Host,
        listen: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Self, RigError> {
        let mut command = host.command(program("lb-tests-server")?);
        command.args(["--name", host.name()]);
        for address in listen {
            command.args(["--listen", &address.to_string()]);
        }
        let daemon = Daemon::start(&format!("the server of {}", host.name()), command)?;
        let what = format!("the server of {} to listen", host.name());
        daemon.until(&what, Duration::from_secs(5), || {
            let ready = daemon.output().contains("listening");
            ready.then_some(()).ok_or_else(|| daemon.log())
        })?;
        Ok(Self(daemon))
    }

    /// Kills the server, as a crash would: its connections are reset, new ones are refused.
    pub fn kill(self) {
        drop(self);
    }

    /// The process behind it.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.0
    }
}
