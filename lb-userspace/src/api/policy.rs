//! A service's policy as a document.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{FlowLimit, Fragments, NoBackend, Ping, Policy, UdpFlows};

/// What a service asks for beyond sending packets to backends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PolicyItem {
    /// Sources that are allowed; if there is any, others are denied.
    pub allow: Vec<IpNet>,
    /// Sources that are denied.
    pub deny: Vec<IpNet>,
    /// Limit of new flows in all.
    pub max_new_flows: Option<FlowLimitItem>,
    /// Limit of new flows of each source.
    pub max_new_flows_per_source: Option<FlowLimitItem>,
    /// `drop` or `refuse`.
    pub no_backend: NoBackend,
    /// `hash`, `remember` or `quic`.
    pub udp_flows: String,
    /// Seconds until a silent flow is forgotten; null unless flows are remembered.
    pub udp_timeout_seconds: Option<u64>,
    /// Where connection identifiers name a server; null unless they do.
    pub quic_server_id: Option<ServerIdItem>,
    /// `track` or `by-address`.
    pub fragments: Fragments,
    /// `pass`, `answer` or `backend`; null where the service does not say.
    pub ping: Option<Ping>,
}

/// A limit of new flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowLimitItem {
    /// Flows in the long run, as configured: `1000/s` or `30/m`.
    pub rate: String,
    /// Flows at once.
    pub burst: u32,
}

/// Where connection identifiers name a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerIdItem {
    /// Bytes before it.
    pub offset: u16,
    /// Bytes of it.
    pub length: u16,
    /// Backends by address, with their identifier in hexadecimal digits.
    pub servers: BTreeMap<IpAddr, String>,
}

impl From<&Policy> for PolicyItem {
    fn from(policy: &Policy) -> Self {
        Self {
            allow: policy.prefixes(true).collect(),
            deny: policy.prefixes(false).collect(),
            max_new_flows: policy.max_new_flows.map(limit),
            max_new_flows_per_source: policy.max_new_flows_per_source.map(limit),
            no_backend: policy.no_backend,
            udp_flows: policy.udp_flows.name().to_owned(),
            udp_timeout_seconds: match &policy.udp_flows {
                UdpFlows::Remember(timeout) => Some(timeout.as_secs()),
                UdpFlows::Hash | UdpFlows::Quic { .. } => None,
            },
            quic_server_id: server_id(&policy.udp_flows),
            fragments: policy.fragments,
            ping: policy.ping,
        }
    }
}

fn limit(limit: FlowLimit) -> FlowLimitItem {
    FlowLimitItem { rate: limit.rate.to_string(), burst: limit.burst }
}

fn server_id(flows: &UdpFlows) -> Option<ServerIdItem> {
    let UdpFlows::Quic { layout, servers } = flows else { return None };
    let digits = 2 * usize::from(layout.length);
    let server = |(address, id): (&IpAddr, &u64)| (*address, format!("{id:0digits$x}"));
    let servers = servers.iter().map(server).collect();
    Some(ServerIdItem { offset: layout.offset, length: layout.length, servers })
}
