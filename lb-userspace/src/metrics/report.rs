//! The state of the daemon as plain data, gathered for one scrape.

use std::time::SystemTime;

use lb_common::{Counters, Verdict};

use super::{CheckMetrics, Process};
use crate::{
    datapath::counters::FlowCacheCounts, event::EventKind, health::CheckerCounts, hooks::HookCounts,
};

/// Everything that metrics tell.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Version of the daemon.
    pub version: &'static str,
    /// What the daemon takes from its machine.
    pub process: Process,
    /// Services, each name once.
    pub services: Vec<ServiceReport>,
    /// Backends, once for each service that they are in.
    pub backends: Vec<BackendReport>,
    /// Packets by what became of them.
    pub verdicts: Vec<(Verdict, u64)>,
    /// Interfaces that the program belongs to.
    pub interfaces: Vec<InterfaceReport>,
    /// Registries, at most one a service.
    pub sources: Vec<SourceReport>,
    /// Whether nobody answers this load balancer, so that failures are taken for its own.
    pub uplink_silent: bool,
    /// How health checks keep up.
    pub checker: CheckerCounts,
    /// The kernel's tables.
    pub tables: TableReport,
    /// The configuration.
    pub config: ConfigReport,
    /// How often each kind of event was told.
    pub events: Vec<(EventKind, u64)>,
    /// Hooks, each name once.
    pub hooks: Vec<HookCounts>,
}

/// A service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// What was sent on.
    pub counters: Counters,
    /// Backends it has, whatever their state.
    pub backends: u64,
    /// Whether any of them takes new flows.
    pub up: bool,
    /// Whether enough of them are well.
    pub quorum: bool,
    /// Whether some of them take flows that are not well, since too few are.
    pub panic: bool,
    /// Whether backends serve that stand by for others.
    pub backup_active: bool,
    /// How many backends it asks for, where the configuration has a word on that.
    pub scaling: Option<ScalingReport>,
}

/// How many backends of weight 100 a service asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalingReport {
    /// What the load of now needs.
    pub demand: u32,
    /// What the load at the horizon will need.
    pub predicted: u32,
    /// What is asked for.
    pub desired: u32,
    /// The load over what the backends that serve carry; `None` while none serves.
    pub load_ratio: Option<f64>,
}

/// What a backend's state can be.
pub const BACKEND_STATES: [&str; 8] =
    ["up", "down", "drain", "maint", "starting", "standby", "ejected", "panic"];

/// A backend of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendReport {
    /// Name of its service.
    pub service: String,
    /// Its address.
    pub address: String,
    /// One of [`BACKEND_STATES`].
    pub state: &'static str,
    /// What was sent to it.
    pub counters: Counters,
    /// Weight that it was given.
    pub weight_config: u32,
    /// Weight that counts at present: 0 while it takes no new flows.
    pub weight_effective: u32,
    /// How its checks went; `None` where it is not checked.
    pub checks: Option<CheckMetrics>,
    /// How often its agent was heard; `None` where there is none.
    pub agent: Option<AgentCounts>,
    /// What was seen of it; `None` where nobody looks.
    pub watch: Option<WatchReport>,
    /// Changes of its state.
    pub state_changes: u64,
    /// When the last of them was, in seconds since 1970; `None` before the first.
    pub last_change: Option<u64>,
}

/// How often an agent was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounts {
    /// It answered.
    pub heard: u64,
    /// It did not, or not so that it could be understood.
    pub failed: u64,
}

/// What was seen of a backend by looking at its traffic and the course of its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchReport {
    /// Whether something speaks against it at present.
    pub suspect: bool,
    /// How often it was ejected.
    pub ejections: u64,
    /// Checks.
    pub checks: AttemptCounts,
    /// Clients that connect.
    pub traffic: AttemptCounts,
}

/// Attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttemptCounts {
    /// All.
    pub attempts: u64,
    /// Those that failed.
    pub failed: u64,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceReport {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; `none` while nothing is attached.
    pub mode: &'static str,
    /// Whether the program is attached to it.
    pub attached: bool,
}

/// A service's registry.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceReport {
    /// Name of the service.
    pub service: String,
    /// Whether it answers, and what it says is good.
    pub up: bool,
    /// For how long the list in force has not been known to be true; 0 while the registry is up.
    pub age_seconds: f64,
    /// Answers that were taken over.
    pub updates_ok: u64,
    /// Outages, and answers that were refused.
    pub updates_failed: u64,
}

/// The kernel's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableReport {
    /// Slots that belong to a service.
    pub slots_used: u64,
    /// Slots that there are.
    pub slots_capacity: u64,
    /// Tables that were computed anew.
    pub rebuilds: u64,
    /// Slots that went to another backend by that.
    pub disrupted_slots: u64,
    /// Memory of all maps.
    pub map_bytes: u64,
    /// Translated flows.
    pub nat_flows: NatFlowReport,
    /// The flow cache.
    pub flow_cache: FlowCacheReport,
}

/// The flow cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCacheReport {
    /// Places that were taken when they were last looked at.
    pub entries: u64,
    /// Places that there are.
    pub capacity: u64,
    /// What packets have counted.
    pub counts: FlowCacheCounts,
}

/// The table of translated flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatFlowReport {
    /// Flows that there were when all were last looked at.
    pub flows: u64,
    /// Flows that fit.
    pub capacity: u64,
    /// Flows that were removed since they had been silent for too long.
    pub expired: u64,
}

/// The configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigReport {
    /// Whether the last attempt to load it succeeded.
    pub last_reload_success: bool,
    /// When an attempt last succeeded.
    pub last_success: SystemTime,
}
