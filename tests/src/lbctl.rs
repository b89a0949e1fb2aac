//! `lbctl` as the rig uses it, and all that the rig knows of its output.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use serde::Deserialize;

use crate::{error::RigError, host::Host, program};

/// `lbctl` in one host.
#[derive(Debug)]
pub struct Lbctl<'a> {
    host: &'a Host,
    program: PathBuf,
}

/// A row of `lbctl backend list`.
#[derive(Debug, Clone, Deserialize)]
pub struct BackendRow {
    /// The service that it is a backend of.
    pub service: String,
    /// Its address.
    pub address: IpAddr,
    /// `up`, `down`, `drain`, `maint` or `starting`.
    pub state: String,
    /// Why it is in this state.
    #[serde(default)]
    pub reason: String,
    /// Its weight.
    #[serde(default)]
    pub weight: u32,
    /// The part of the service's slots that lead to it, from 0 to 1.
    #[serde(default)]
    pub slots_share: f64,
}

/// The answer of `lbctl lookup`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Lookup {
    /// The backend of the flow's next packet.
    pub backend: IpAddr,
    /// The backend that a new connection from the same address and port would get.
    pub new_flows: IpAddr,
}

impl<'a> Lbctl<'a> {
    /// The built `lbctl`, to be run in `host`.
    pub fn new(host: &'a Host) -> Result<Self, RigError> {
        Ok(Self { host, program: program("lbctl")? })
    }

    /// A command with these arguments, not run yet.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.command(&self.program);
        command.args(arguments);
        command
    }

    /// Runs `lbctl` with these arguments and returns its output; an exit code other than 0 is an
    /// error.
    pub fn run(&self, arguments: &[&str]) -> Result<String, RigError> {
        let program = self.program.to_string_lossy();
        self.host.run(&[&[&*program], arguments].concat())
    }

    /// `backend list`.
    pub fn backends(&self) -> Result<Vec<BackendRow>, RigError> {
        #[derive(Deserialize)]
        struct Answer {
            backends: Vec<BackendRow>,
        }
        let answer: Answer = self.ask(&["backend", "list"])?;
        Ok(answer.backends)
    }

    /// `lookup`: where the TCP flow from `source` to `service` goes.
    pub fn lookup(&self, source: SocketAddr, service: SocketAddr) -> Result<Lookup, RigError> {
        let (source, service) = (source.to_string(), service.to_string());
        self.ask(&["lookup", "--proto", "tcp", "--src", &source, "--dst", &service])
    }

    fn ask<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, RigError> {
        let answer = self.run(&[&["-o", "json"], arguments].concat())?;
        serde_json::from_str(&answer).map_err(|error| RigError::Answer {
            program: "lbctl",
            problem: error.to_string(),
            answer,
        })
    }
}
