//! The nouns of a load balancer, checked: whoever holds one need not check it again.

mod backend;
mod flow_rules;
mod health_check;
mod policy;
mod ports;
mod scheduler;
mod service;
mod source_config;
mod vip;

pub use backend::{
    Backend, BackendName, BackendRule, BadBackend, BadBackendName, DEFAULT_WEIGHT, Priority, Weight,
};
pub use flow_rules::{FlowEnd, FlowRule, FlowRules};
pub use health_check::{CheckKind, HealthCheck};
pub use policy::{BadFlowRate, FlowLimit, FlowRate, Fragments, NoBackend, Ping, Policy, UdpFlows};
pub use ports::{BadPorts, Ports};
pub use scheduler::{Affinity, Scheduler, Weighing};
pub use service::{BadServiceName, Protocol, Service, ServiceName, forward_name};
pub use source_config::SourceConfig;
pub use vip::{BadVip, Vip};
