//! A flood of SYNs from invented sources.

use std::{net::SocketAddr, time::Duration};

use super::config::PORT;
use crate::{
    address::{self, Family},
    daemon::Daemon,
    error::RigError,
    host::Host,
    program, waiting,
};

/// A running `lb-tests-disrupt flood`.
#[derive(Debug)]
pub(super) struct Flood(Daemon);

impl Flood {
    /// Begins to send so many SYNs from the client's interface to the first service over IPv4.
    pub(super) fn start(client: &Host, count: u64) -> Result<Self, RigError> {
        let gateway = address::client_gateway(Family::V4).to_string();
        let target = SocketAddr::new(address::service(Family::V4, 1), PORT).to_string();
        let mut command = client.command(program("lb-tests-disrupt")?);
        command.args(["flood", "--interface", "eth0", "--gateway-mac"]);
        command.arg(mac(client, &gateway)?);
        command.args(["--target", &target, "--count", &count.to_string()]);
        Ok(Self(Daemon::start("the flood", command)?))
    }

    /// Whether it still goes on.
    pub(super) fn is_running(&self) -> bool {
        self.0.is_running()
    }

    /// Waits for its end; what it says of itself.
    pub(super) fn finish(self, patience: Duration) -> Result<String, RigError> {
        let status = waiting::until("the end of the flood", patience, || {
            self.0.exit_status().ok_or_else(|| "it still runs".to_owned())
        })?;
        if status.success() {
            return Ok(self.0.output());
        }
        Err(RigError::Ended { program: "the flood".into(), status, log: self.0.log() })
    }
}

/// The link-layer address of a neighbour that the host has talked with.
fn mac(host: &Host, neighbour: &str) -> Result<String, RigError> {
    let table = host.run(&["ip", "neigh", "show", neighbour, "dev", "eth0"])?;
    let words: Vec<_> = table.split_whitespace().collect();
    let found = words.iter().position(|word| *word == "lladdr").and_then(|at| words.get(at + 1));
    found.map(|word| (*word).to_owned()).ok_or_else(|| RigError::Answer {
        program: "ip",
        problem: format!("no link-layer address of {neighbour}"),
        answer: table,
    })
}
