//! The configuration file: text in, checked configuration or one clear error out.

mod check;
mod error;
mod raw;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use crate::model::{Hook, Service};

pub use check::{Clash, Together, check_service_limits};
pub use error::ConfigError;

/// A checked configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What concerns the daemon as a whole.
    pub daemon: Daemon,
    /// Services in the order of the file; names and keys are unique.
    pub services: Vec<Service>,
    /// What is done when something happens; names are unique.
    pub hooks: Vec<Hook>,
}

/// What concerns the daemon as a whole. A change of any of it needs a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Interfaces that the program is attached to, at least one, each once.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub xdp_mode: XdpMode,
    /// Socket of the control API.
    pub api_socket: PathBuf,
    /// Where metrics are served; `None` serves none.
    pub metrics_listen: Option<SocketAddr>,
    /// What must survive restarts of the machine.
    pub state_dir: PathBuf,
    /// What must survive restarts of the daemon, on a BPF file system.
    pub pin_dir: PathBuf,
    /// Secret of all hashes, the same on all load balancers of a group.
    pub hash_seed: Secret,
    /// UDP port of the tunnels of services that are forwarded by GUE.
    pub gue_port: u16,
    /// Outer source addresses of tunnels, at most a prefix of each family, with at most 16 free
    /// bits; without one it is our own address towards the backend.
    pub tunnel_sources: Vec<IpNet>,
    /// First and last of the ports that translated flows show to backends.
    pub nat_ports: (u16, u16),
    /// How large the kernel's tables are.
    pub limits: Limits,
}

/// How the program is attached to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, which every interface can.
    Generic,
    /// In the driver where it can, else in the stack.
    Auto,
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Auto => "auto",
        })
    }
}

/// How large the kernel's tables are, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services.
    pub services: u32,
    /// Backends, counted once for each service that they are in; at most 65,535.
    pub backends: u32,
    /// Slots of all services together; a change takes as many again for a moment.
    pub slots: u32,
    /// Flows that are remembered while slots change hands, or for as long as they last where a
    /// service asks for that.
    pub flows: u32,
    /// Flows that are translated at a time.
    pub nat_flows: u32,
    /// Sources whose new flows are counted at a time.
    pub sources: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 1024,
            backends: 4096,
            slots: 1 << 21,
            flows: 1 << 18,
            nat_flows: 1 << 16,
            sources: 1 << 14,
        }
    }
}

/// Checks the text of one service, without its `[[service]]` line; `origin` is its name in errors.
pub fn parse_service(origin: &str, text: &str) -> Result<Service, ConfigError> {
    let raw = toml::from_str(text).map_err(|source| ConfigError::syntax(origin, text, &source))?;
    check::service(raw).map_err(|fault| fault.at(origin, text))
}

/// Text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::unreadable(path, &source))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Checks text; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let raw =
            toml::from_str(text).map_err(|source| ConfigError::syntax(file, text, &source))?;
        let config = check::config(raw).map_err(|fault| fault.at(file, text))?;
        check::limits(file, &config)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
