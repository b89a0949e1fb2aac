//! What a service asks for beyond sending packets to backends.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, time::Duration};

use ipnet::IpNet;
use lb_common::policy::ServerIdLayout;
use serde::{Deserialize, Serialize};

/// A checked policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Sources that are allowed (true) and denied; the longest prefix counts. All are of the
    /// service's family.
    pub sources: BTreeMap<IpNet, bool>,
    /// New flows in all.
    pub max_new_flows: Option<FlowLimit>,
    /// New flows of each source.
    pub max_new_flows_per_source: Option<FlowLimit>,
    /// What clients are told where there is no backend.
    pub no_backend: NoBackend,
    /// How flows of UDP find their backend.
    pub udp_flows: UdpFlows,
    /// How fragments find theirs.
    pub fragments: Fragments,
    /// What becomes of echo requests to the address; `None` leaves that to other services there.
    pub ping: Option<Ping>,
}

impl Policy {
    /// Whether sources that no rule names are denied: there is something that is allowed.
    #[must_use]
    pub fn denies_others(&self) -> bool {
        self.sources.values().any(|is_allowed| *is_allowed)
    }

    /// Prefixes that are allowed (true) or denied.
    pub fn prefixes(&self, allowed: bool) -> impl Iterator<Item = IpNet> + '_ {
        let chosen = self.sources.iter().filter(move |(_, is_allowed)| **is_allowed == allowed);
        chosen.map(|(prefix, _)| *prefix)
    }
}

/// How many flows may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimit {
    /// In the long run.
    pub rate: FlowRate,
    /// At once, after a time without any.
    pub burst: u32,
}

/// Flows in a time: `1000/s` or `30/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRate {
    /// Flows in a minute.
    pub per_minute: u64,
}

/// Text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"N/s\" or \"N/m\", from \"1/m\" to \"5000000/s\"")]
pub struct BadFlowRate;

impl FlowRate {
    const MOST_PER_SECOND: u64 = 5_000_000;

    /// Flows of a second, at least one: how many may begin at once where nothing else is said.
    #[must_use]
    pub const fn usual_burst(self) -> u32 {
        self.per_minute.div_ceil(60) as u32
    }
}

impl FromStr for FlowRate {
    type Err = BadFlowRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = text.split_once('/').ok_or(BadFlowRate)?;
        let number: u64 = number.trim().parse().map_err(|_| BadFlowRate)?;
        let factor = match unit.trim() {
            "s" => 60,
            "m" => 1,
            _ => return Err(BadFlowRate),
        };
        let is_sensible = (1..=Self::MOST_PER_SECOND).contains(&number);
        is_sensible.then_some(Self { per_minute: number * factor }).ok_or(BadFlowRate)
    }
}

impl fmt::Display for FlowRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.per_minute.is_multiple_of(60) {
            write!(f, "{}/s", self.per_minute / 60)
        } else {
            write!(f, "{}/m", self.per_minute)
        }
    }
}

/// What clients are told where there is no backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoBackend {
    /// Nothing.
    #[default]
    Drop,
    /// That nobody is there: RST, or ICMP port unreachable.
    Refuse,
}

/// How flows of UDP find their backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UdpFlows {
    /// By the hash of addresses and ports, as the table stands.
    #[default]
    Hash,
    /// They keep their backend until they have been silent for this long.
    Remember(Duration),
    /// By the server that their QUIC connection identifier names; else by hash.
    Quic {
        /// Where it stands there.
        layout: ServerIdLayout,
        /// Identifiers of backends, big-endian numbers; unique.
        servers: BTreeMap<IpAddr, u64>,
    },
}

impl UdpFlows {
    /// Time until a silent flow is forgotten, where the configuration says nothing.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Remember(_) => "remember",
            Self::Quic { .. } => "quic",
        }
    }
}

/// How fragments find their backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fragments {
    /// They follow the first of their datagram.
    #[default]
    Track,
    /// As all packets of the client do: flows are told apart by its address alone.
    ByAddress,
}

/// What becomes of echo requests to a service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ping {
    /// They pass to the network stack.
    Pass,
    /// They are answered.
    Answer,
    /// They go to the service's backends.
    Backend,
}

impl Ping {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Answer => "answer",
            Self::Backend => "backend",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_they_are_written() {
        for (text, per_minute, burst, shown) in [
            ("1000/s", 60_000, 1000, "1000/s"),
            ("20 / s", 1200, 20, "20/s"),
            ("1/m", 1, 1, "1/m"),
            ("90/m", 90, 2, "90/m"),
            ("60/m", 60, 1, "1/s"),
            ("5000000/s", 300_000_000, 5_000_000, "5000000/s"),
        ] {
            let rate: FlowRate = text.parse().expect(text);
            assert_eq!((rate.per_minute, rate.usual_burst()), (per_minute, burst));
            assert_eq!(rate.to_string(), shown);
        }
        for text in ["", "10", "0/s", "5000001/s", "1/h", "-1/s", "1.5/s", "1/s/s"] {
            assert_eq!(text.parse::<FlowRate>(), Err(BadFlowRate), "{text}");
        }
    }
}
