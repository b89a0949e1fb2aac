//! What clients reach: a service, as everybody but the kernel sees it.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, time::Duration};

use lb_common::{Forward, ServiceKey, service};
use serde::{Deserialize, Serialize};

use super::{
    AgentCheck, Backend, BackendRule, FlowRules, HealthCheck, NoBackend, OutlierSettings, Policy,
    Ports, Quorum, Recovery, Scaling, Scheduler, SourceConfig, Vip,
};

/// A service's name: 1 to 63 letters, digits, dots, hyphens and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(String);

/// A name that cannot be one.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a service name: use 1 to 63 letters, digits, dots, hyphens and underscores")]
pub struct BadServiceName(String);

impl FromStr for ServiceName {
    type Err = BadServiceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if (1..=63).contains(&text.len()) && text.chars().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            let shown: String = text.escape_debug().take(80).collect();
            Err(BadServiceName(shown))
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = BadServiceName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => service::TCP,
            Self::Udp => service::UDP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The word for a way to forward, in configuration and output.
#[must_use]
pub const fn forward_name(forward: Forward) -> &'static str {
    match forward {
        Forward::L2 => "l2",
        Forward::Ipip => "ipip",
        Forward::Gue => "gue",
        Forward::Nat => "nat",
    }
}

/// A checked service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name, unique.
    pub name: ServiceName,
    /// Address that clients reach.
    pub vip: Vip,
    /// Ports that clients reach.
    pub ports: Ports,
    /// Transport protocol.
    pub protocol: Protocol,
    /// How packets get to the backends.
    pub forward: Forward,
    /// How backends are checked; `None` takes every backend for healthy.
    pub health_check: Option<HealthCheck>,
    /// Backends that are checked otherwise; `None` is not at all.
    pub check_overrides: BTreeMap<IpAddr, Option<HealthCheck>>,
    /// How backends' agents are asked; `None` asks none.
    pub agent_check: Option<AgentCheck>,
    /// What traffic must show for a backend to be ejected.
    pub outlier: OutlierSettings,
    /// Registry of further backends.
    pub source: Option<SourceConfig>,
    /// How long flows that began before a change of the table keep their former backend at least.
    pub flow_grace: Duration,
    /// What becomes of the flows of a backend that takes no new ones any more.
    pub flow_rules: FlowRules,
    /// What it asks for beyond sending packets to backends.
    pub policy: Policy,
    /// How new flows find their backend.
    pub scheduler: Scheduler,
    /// How a backend that was out comes back.
    pub recovery: Recovery,
    /// What happens when many backends are out.
    pub quorum: Quorum,
    /// How its load becomes a number of backends to ask for; `None` asks for none.
    pub scaling: Option<Scaling>,
    /// Slots of its table, a power of two; `None` goes by the number of its backends.
    pub table_slots: Option<u32>,
    /// Backends that the configuration or the operator names, each address once.
    pub backends: Vec<Backend>,
}

impl Service {
    /// Grace for flows where the configuration says nothing: Linux keeps an idle established
    /// connection alive for two hours before it probes (tcp_keepalive_time).
    pub const DEFAULT_FLOW_GRACE: Duration = Duration::from_secs(2 * 60 * 60);

    /// How a backend is checked.
    #[must_use]
    pub fn check_of(&self, backend: &IpAddr) -> Option<&HealthCheck> {
        let own = self.check_overrides.get(backend).map(Option::as_ref);
        own.unwrap_or(self.health_check.as_ref())
    }

    /// Whether what happens to clients' connections is looked at.
    #[must_use]
    pub const fn watches_traffic(&self) -> bool {
        !self.outlier.is_off() || self.recovery.trial.is_some()
    }

    /// The port of a backend, if the configuration names one; 0 is the one that clients reach.
    #[must_use]
    pub fn port_of(&self, backend: &IpAddr) -> u16 {
        let found = self.backends.iter().find(|known| known.address == *backend);
        found.map_or(0, |known| known.port)
    }

    /// The port at which a backend gets its packets: its own, or that of a service of one port.
    /// `None` where packets keep the port that clients reach.
    #[must_use]
    pub fn translated_port_of(&self, backend: &IpAddr) -> Option<u16> {
        match (self.forward, self.ports) {
            (Forward::Nat, Ports::Exact(port)) => {
                Some(self.port_of(backend)).filter(|own| *own > 0).or(Some(port))
            }
            _ => None,
        }
    }

    /// Which addresses its backends may have.
    #[must_use]
    pub const fn backend_rule(&self) -> BackendRule {
        BackendRule { vip: self.vip, forward: self.forward }
    }

    /// Whether it is there to refuse its clients, as long as it has no backend.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.policy.no_backend == NoBackend::Refuse && self.source.is_none()
    }

    /// The key under which packets find it.
    #[must_use]
    pub fn key(&self) -> ServiceKey {
        let protocol = self.protocol.number();
        match self.ports {
            Ports::Exact(port) => self.vip.key(port, protocol),
            Ports::Range(first, _) => self.vip.key(first, protocol).range_from(first),
            Ports::Every => self.vip.key(0, protocol),
        }
    }
}
