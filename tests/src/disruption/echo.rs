//! The servers: they answer every question with their name.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{daemon::Daemon, error::RigError, host::Host, program};

/// Where servers accept the balancers' checks.
pub const CHECK_PORT: u16 = 81;

/// A running `lb-tests-disrupt server`.
#[derive(Debug)]
pub(super) struct Echo(Daemon);

impl Echo {
    /// Starts a server named after the host, on `port` of all these addresses, that accepts checks
    /// on [`CHECK_PORT`] of its own ones.
    pub(super) fn start(
        host: &Host,
        port: u16,
        own: &[IpAddr],
        services: &[IpAddr],
    ) -> Result<Self, RigError> {
        let mut command = host.command(program("lb-tests-disrupt")?);
        command.args(["server", "--name", host.name()]);
        for address in own.iter().chain(services) {
            command.args(["--listen", &SocketAddr::new(*address, port).to_string()]);
        }
        for address in own {
            command.args(["--check", &SocketAddr::new(*address, CHECK_PORT).to_string()]);
        }
        let daemon = Daemon::start(&format!("the server of {}", host.name()), command)?;
        let what = format!("the server of {} to listen", host.name());
        daemon.until(&what, Duration::from_secs(10), || {
            let is_ready = daemon.output().contains("listening");
            is_ready.then_some(()).ok_or_else(|| daemon.log())
        })?;
        Ok(Self(daemon))
    }

    /// Refuses checks from now on, and serves on.
    pub(super) fn refuse_checks(&self) {
        self.0.signal(Signal::SIGUSR1);
    }

    /// Accepts checks again.
    pub(super) fn accept_checks(&self) {
        self.0.signal(Signal::SIGUSR2);
    }
}
