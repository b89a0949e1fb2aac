//! `lbd`: owns the control core and the data plane, and stands between them and the world.
//!
//! One task owns everything and takes one event at a time; what waits for the world (checks,
//! registries, netlink, sockets) runs in tasks of its own and reports through channels.

mod agents;
mod answers;
mod apply;
mod check_log;
mod check_path;
mod checks;
mod difference;
mod disputes;
mod documents;
mod events;
mod flow_cache;
mod heap;
mod interfaces;
mod kept;
pub mod memory;
mod nat_flows;
mod observer;
mod own_addresses;
mod passive;
mod presume;
mod problems;
mod reload;
mod run;
mod scaling;
mod start;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    time::{Instant, SystemTime},
};

use lb_common::ServiceKey;

use crate::{
    control::Control,
    datapath::Datapath,
    health::Checker,
    hooks::Hooks,
    metrics::CheckMetrics,
    model::{BackendName, ServiceName},
    netlink::{Fault, Neighbours, Way},
    source::Sources,
};
use memory::StateDir;

pub use start::{StartError, run};

/// Everything that the daemon owns.
struct Daemon {
    control: Control,
    datapath: Datapath,
    state: StateDir,
    checker: Checker,
    check_log: check_log::CheckLog,
    check_path: check_path::CheckPath,
    watch: passive::Watch,
    sources: Sources,
    neighbours: Neighbours,
    ways: BTreeMap<IpAddr, Result<Way, Fault>>,
    interfaces: Vec<Interface>,
    /// Whether none of them has a link.
    is_unplugged: bool,
    checks: BTreeMap<BackendName, CheckMetrics>,
    agents: agents::Agents,
    kept: kept::Kept,
    registries: BTreeMap<ServiceName, Registry>,
    /// Services with disputed slots, and when they last changed.
    disputes: BTreeMap<ServiceKey, Instant>,
    config: ConfigFile,
    work: Work,
    started: Instant,
    /// When changes of health that are being gathered come into force.
    apply_at: Option<Instant>,
    /// When something follows for the control core from time alone.
    next_step_at: Option<Instant>,
    /// Why packets may not go where they should; empty if nothing is wrong.
    commit_problem: Option<String>,
    readiness: tokio::sync::watch::Sender<Vec<String>>,
    /// Where the tasks that wait for grace periods report what may be given back.
    reclaims: tokio::sync::mpsc::Sender<crate::datapath::tables::Epoch>,
    reclaiming: bool,
    nat_flows: nat_flows::NatFlows,
    flow_cache: flow_cache::FlowCache,
    loads: scaling::Loads,
    own_addresses: own_addresses::OwnAddresses,
    journal: events::journal::Journal,
    hooks: Hooks,
}

/// An interface of the configuration.
struct Interface {
    name: String,
    /// The mode of the attachment; `None` while there is none.
    mode: Option<&'static str>,
    /// Whether its program is the one for jumbo frames.
    jumbo: bool,
    /// Why there is none.
    problem: Option<String>,
}

/// How a registry is doing.
#[derive(Default)]
struct Registry {
    failing_since: Option<Instant>,
    error: Option<String>,
    answers: u64,
    failures: u64,
}

/// The configuration file.
struct ConfigFile {
    path: PathBuf,
    /// Text of the file when it was last read.
    text: String,
    /// Where the configuration in force comes from, in words.
    origin: String,
    /// Why the file was refused when it was last read.
    refusal: Option<String>,
    last_success: SystemTime,
}

/// What was done to tables.
#[derive(Default)]
struct Work {
    rebuilds: u64,
    moved_slots: u64,
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
