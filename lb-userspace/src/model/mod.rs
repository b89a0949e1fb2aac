//! The nouns of a load balancer, checked: whoever holds one need not check it again.

mod backend;
mod flow_rules;
mod health_check;
mod hook;
mod outlier;
mod policy;
mod ports;
mod probe;
mod quorum;
mod recovery;
mod scaling;
mod scheduler;
mod service;
mod source_config;
mod vip;

pub use backend::{
    Backend, BackendName, BackendRule, BadBackend, BadBackendName, DEFAULT_WEIGHT, Priority, Weight,
};
pub use flow_rules::{FlowEnd, FlowRule, FlowRules};
pub use health_check::{AgentCheck, CheckVia, HealthCheck, InitialState, Thresholds};
pub use hook::{Hook, HookAction};
pub use outlier::OutlierSettings;
pub use policy::{BadFlowRate, FlowLimit, FlowRate, Fragments, NoBackend, Ping, Policy, UdpFlows};
pub use ports::{BadPorts, Ports};
pub use probe::{
    BadDnsQuestion, BadHex, BadPattern, BadStatusSet, DnsProbe, DnsQuestion, DnsTransport,
    Exchange, ExecProbe, ExitCode, Expect, GrpcProbe, HexPattern, HttpProbe, HttpVersion, Pattern,
    Probe, StatusSet, TlsOptions, UdpProbe, hex_bytes,
};
pub use quorum::{LastResort, Quorum};
pub use recovery::{Damping, Recovery, SlowStart, Trial};
pub use scaling::{Measure, Scaling};
pub use scheduler::{Affinity, Scheduler, Weighing};
pub use service::{BadServiceName, Protocol, Service, ServiceName, forward_name};
pub use source_config::SourceConfig;
pub use vip::{BadVip, Vip};
