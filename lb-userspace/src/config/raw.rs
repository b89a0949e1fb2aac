//! The configuration as it is written: every key that may stand there, with its place.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) daemon: Daemon,
    #[serde(default, rename = "service")]
    pub(super) services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Daemon {
    pub(super) interfaces: Spanned<Vec<Spanned<String>>>,
    pub(super) xdp_mode: Option<Spanned<String>>,
    pub(super) api_socket: Option<PathBuf>,
    pub(super) metrics_listen: Option<Spanned<String>>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) pin_dir: Option<PathBuf>,
    pub(super) hash_seed: Option<Spanned<String>>,
    pub(super) gue_port: Option<Spanned<i64>>,
    pub(super) tunnel_sources: Option<Vec<Spanned<String>>>,
    pub(super) nat_ports: Option<Spanned<String>>,
    pub(super) max_services: Option<Spanned<i64>>,
    pub(super) max_backends: Option<Spanned<i64>>,
    pub(super) max_slots: Option<Spanned<i64>>,
    pub(super) max_flows: Option<Spanned<i64>>,
    pub(super) max_nat_flows: Option<Spanned<i64>>,
    pub(super) max_sources: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: Spanned<String>,
    pub(super) vip: Spanned<String>,
    pub(super) port: Spanned<toml::Value>,
    pub(super) protocol: Option<Spanned<String>>,
    pub(super) forward: Spanned<String>,
    pub(super) scheduler: Option<Spanned<String>>,
    pub(super) affinity: Option<Spanned<Affinity>>,
    pub(super) table_slots: Option<Spanned<i64>>,
    pub(super) flow_grace: Option<Spanned<String>>,
    pub(super) on_drain: Option<Spanned<String>>,
    pub(super) on_down: Option<Spanned<String>>,
    pub(super) on_remove: Option<Spanned<String>>,
    pub(super) drain_timeout: Option<Spanned<String>>,
    pub(super) down_timeout: Option<Spanned<String>>,
    pub(super) remove_timeout: Option<Spanned<String>>,
    pub(super) allow: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) deny: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) max_new_flows: Option<Spanned<String>>,
    pub(super) new_flow_burst: Option<Spanned<i64>>,
    pub(super) max_new_flows_per_source: Option<Spanned<String>>,
    pub(super) new_flow_burst_per_source: Option<Spanned<i64>>,
    pub(super) no_backend: Option<Spanned<String>>,
    pub(super) udp_flows: Option<Spanned<String>>,
    pub(super) udp_timeout: Option<Spanned<String>>,
    pub(super) quic_server_id: Option<Spanned<QuicServerId>>,
    pub(super) fragments: Option<Spanned<String>>,
    pub(super) ping: Option<Spanned<String>>,
    pub(super) health_check: Option<Spanned<HealthCheck>>,
    pub(super) source: Option<Spanned<Source>>,
    #[serde(default, rename = "backend")]
    pub(super) backends: Vec<Backend>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Affinity {
    pub(super) ipv4_prefix: Option<Spanned<i64>>,
    pub(super) ipv6_prefix: Option<Spanned<i64>>,
    pub(super) timeout: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuicServerId {
    pub(super) offset: Spanned<i64>,
    pub(super) length: Spanned<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthCheck {
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) interval: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) rise: Option<Spanned<i64>>,
    pub(super) fall: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) path: Option<PathBuf>,
    pub(super) endpoints: Option<Vec<Spanned<String>>>,
    pub(super) prefix: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backend {
    pub(super) address: Spanned<String>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) weight: Option<Spanned<i64>>,
    pub(super) priority: Option<Spanned<i64>>,
    pub(super) server_id: Option<Spanned<String>>,
}
