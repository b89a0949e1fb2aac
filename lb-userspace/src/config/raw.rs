//! The configuration as it is written: every key that may stand there, with its place.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) daemon: Daemon,
    #[serde(default, rename = "service")]
    pub(super) services: Vec<Service>,
    #[serde(default, rename = "hook")]
    pub(super) hooks: Vec<Hook>,
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
    pub(super) agent_check: Option<Spanned<AgentCheck>>,
    pub(super) outlier: Option<Spanned<Outlier>>,
    pub(super) recovery: Option<Spanned<Recovery>>,
    pub(super) quorum: Option<Spanned<Quorum>>,
    pub(super) scaling: Option<Spanned<Scaling>>,
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

/// All keys of all types; which belong to which is looked at later.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthCheck {
    #[serde(rename = "type")]
    pub(super) kind: Option<Spanned<String>>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) via: Option<Spanned<String>>,
    pub(super) interval: Option<Spanned<String>>,
    pub(super) fast_interval: Option<Spanned<String>>,
    pub(super) down_interval: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) jitter: Option<Spanned<String>>,
    pub(super) rise: Option<Spanned<i64>>,
    pub(super) fall: Option<Spanned<i64>>,
    pub(super) initial: Option<Spanned<String>>,
    pub(super) send: Option<Spanned<String>>,
    pub(super) send_hex: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<String>>,
    pub(super) expect_hex: Option<Spanned<String>>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Option<Spanned<String>>,
    pub(super) host: Option<Spanned<String>>,
    pub(super) headers: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
    pub(super) status: Option<Spanned<toml::Value>>,
    pub(super) body: Option<Spanned<String>>,
    pub(super) http: Option<Spanned<String>>,
    pub(super) tls: Option<Spanned<bool>>,
    pub(super) verify: Option<Spanned<bool>>,
    pub(super) ca_file: Option<Spanned<PathBuf>>,
    pub(super) server_name: Option<Spanned<String>>,
    pub(super) certificate_days: Option<Spanned<i64>>,
    pub(super) grpc_service: Option<Spanned<String>>,
    pub(super) query: Option<Spanned<String>>,
    pub(super) record: Option<Spanned<String>>,
    pub(super) answer: Option<Spanned<String>>,
    pub(super) transport: Option<Spanned<String>>,
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) weight_from_exit: Option<Spanned<bool>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AgentCheck {
    pub(super) port: Spanned<i64>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) send: Option<Spanned<String>>,
    pub(super) interval: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
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
    pub(super) health_check: Option<Spanned<HealthCheck>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Recovery {
    pub(super) slow_start: Option<Spanned<String>>,
    pub(super) slow_start_from: Option<Spanned<String>>,
    pub(super) slow_start_aggression: Option<Spanned<f64>>,
    pub(super) trial: Option<Spanned<String>>,
    pub(super) trial_weight: Option<Spanned<String>>,
    pub(super) hold_down: Option<Spanned<String>>,
    pub(super) flap_limit: Option<Spanned<f64>>,
    pub(super) flap_reuse: Option<Spanned<f64>>,
    pub(super) flap_half_life: Option<Spanned<String>>,
    pub(super) flap_longest: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quorum {
    pub(super) least: Option<Spanned<i64>>,
    pub(super) hysteresis: Option<Spanned<i64>>,
    pub(super) panic_threshold: Option<Spanned<String>>,
    pub(super) last_resort: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) name: Spanned<String>,
    pub(super) on: Spanned<Vec<Spanned<String>>>,
    pub(super) to: Option<Vec<Spanned<String>>>,
    pub(super) services: Option<Vec<Spanned<String>>>,
    pub(super) command: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) retries: Option<Spanned<i64>>,
    pub(super) timeout: Option<Spanned<String>>,
    pub(super) max_per_minute: Option<Spanned<i64>>,
    pub(super) max_running: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaling {
    pub(super) measure: Spanned<String>,
    pub(super) per_backend: Spanned<f64>,
    pub(super) target: Option<Spanned<String>>,
    pub(super) min: Option<Spanned<i64>>,
    pub(super) max: Option<Spanned<i64>>,
    pub(super) horizon: Option<Spanned<String>>,
    pub(super) cooldown: Option<Spanned<String>>,
    pub(super) tolerance: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outlier {
    pub(super) consecutive_failures: Option<Spanned<i64>>,
    pub(super) failure_rate: Option<Spanned<String>>,
    pub(super) failure_window: Option<Spanned<String>>,
    pub(super) failure_attempts: Option<Spanned<i64>>,
    pub(super) latency_factor: Option<Spanned<f64>>,
    pub(super) latency_least: Option<Spanned<String>>,
    pub(super) drift: Option<bool>,
    pub(super) learned: Option<bool>,
    pub(super) base_ejection_time: Option<Spanned<String>>,
    pub(super) max_ejection_time: Option<Spanned<String>>,
    pub(super) max_ejected: Option<Spanned<String>>,
}
