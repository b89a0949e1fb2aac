//! What `lbctl` and `lbd` say to each other: a request, one line of JSON; an answer, one line. Who
//! follows events gets a further line for each.
//!
//! The documents in the answers are what `lbctl -o json` prints. They are versioned: fields are
//! added, but never change their meaning within a version.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    difference::{Difference, MovementItem},
    events::Events,
    policy::PolicyItem,
};
use crate::{
    control::{Mode, Origin, State},
    event::Told,
    model::{BackendName, Measure, Priority, Protocol, ServiceName, Vip, Weight},
};

/// Version of the documents.
pub const VERSION: u32 = 1;
/// Longest request in bytes: a configuration in it may be large, a mistake endless.
pub const LONGEST_LINE: u64 = 16 << 20;
/// Longest answer in bytes: 65,535 backends take about half of it.
pub const LONGEST_ANSWER: u64 = 64 << 20;

/// What is asked of the daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields say what the words of the command line say")]
pub enum Request {
    /// How it is.
    Status,
    /// All services.
    Services,
    /// One service with its backends.
    Service { name: ServiceName },
    /// A new service, as text of the configuration.
    AddService { text: String },
    /// A service less.
    RemoveService { name: ServiceName },
    /// All that operators said of a service and its backends is forgotten.
    ResetService { name: ServiceName },
    /// The backends of all services, or of one.
    Backends { service: Option<ServiceName> },
    /// One backend.
    Backend { name: BackendName },
    /// A new backend.
    AddBackend {
        name: BackendName,
        weight: Weight,
        #[serde(default)]
        priority: Priority,
    },
    /// A backend less.
    RemoveBackend { name: BackendName },
    /// Ready, drain or maintenance.
    SetMode { name: BackendName, mode: Mode },
    /// A weight in place of the configured one; `None` goes back to that.
    SetWeight { name: BackendName, weight: Option<Weight> },
    /// Another configuration; `file` is its name in errors.
    Apply { file: String, text: String },
    /// What another configuration would change; `file` is its name in errors.
    Diff { file: String, text: String },
    /// Which backend a flow goes to.
    Lookup { protocol: Protocol, source: SocketAddr, destination: SocketAddr },
    /// What has happened after the event with a number, of all or of a service and a backend; with
    /// `follow` further lines tell what happens from then on.
    Events {
        #[serde(default)]
        after: Option<u64>,
        #[serde(default)]
        service: Option<ServiceName>,
        #[serde(default)]
        backend: Option<IpAddr>,
        #[serde(default)]
        follow: bool,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done; in words.
    Done(String),
    /// How the daemon is.
    Status(Box<Status>),
    /// Services.
    Services(Services),
    /// Backends.
    Backends(Backends),
    /// What another configuration would change.
    Difference(Difference),
    /// Where a flow goes.
    Lookup(Lookup),
    /// What has happened.
    Events(Events),
    /// What happens now: a further line for who follows.
    Event(Box<Told>),
    /// It was refused; for who follows, the end.
    Failed(Failure),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of trouble.
    pub kind: FailureKind,
    /// What happened, where, and what to do.
    pub message: String,
}

/// Kinds of trouble, one exit code of `lbctl` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The answer is no, or what was given is wrong.
    Negative,
    /// The request cannot be understood.
    Usage,
    /// The daemon does not answer.
    Unreachable,
    /// What was named is not there.
    NotFound,
    /// What was asked for contradicts what is there.
    Conflict,
    /// It took too long.
    Timeout,
    /// The caller may not.
    Permission,
}

impl FailureKind {
    /// Exit code of `lbctl`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::Conflict => 5,
            Self::Timeout => 6,
            Self::Permission => 7,
        }
    }
}

/// How the daemon is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of this document.
    pub version: u32,
    /// Version of the daemon.
    pub daemon_version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it began.
    pub uptime_seconds: u64,
    /// `ok`, or `degraded` with the reasons in `problems`.
    pub health: String,
    /// One sentence each.
    pub problems: Vec<String>,
    /// Interfaces of the configuration.
    pub interfaces: Vec<InterfaceStatus>,
    /// Number of services.
    pub services: usize,
    /// Number of backends, and how many of them take new flows.
    pub backends: usize,
    /// Backends that take new flows.
    pub backends_up: usize,
    /// Registries.
    pub sources: Vec<SourceStatus>,
    /// Memory of the kernel's maps in bytes.
    pub map_bytes: u64,
    /// Resident memory of the daemon in bytes.
    pub resident_bytes: u64,
    /// Slots in use.
    pub slots_used: u32,
    /// Slots in all.
    pub slots_capacity: u32,
    /// How the flow cache does.
    #[serde(default)]
    pub flow_cache: FlowCacheStatus,
    /// Whether this daemon took over the tables of an earlier one.
    pub adopted: bool,
    /// Where the configuration in force comes from.
    pub config_origin: String,
    /// Services of which operators have said something that wins over the configuration.
    pub changed_by_operators: Vec<ServiceName>,
    /// Packets by verdict, those that occurred.
    pub verdicts: Vec<VerdictCount>,
}

/// How the flow cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCacheStatus {
    /// Flows that have a place, as last counted.
    pub entries: u64,
    /// Places.
    pub capacity: u64,
    /// Packets whose flow was remembered.
    pub hits: u64,
    /// Flows that got a place.
    pub inserts: u64,
    /// Those of them that got the place of a flow that had been silent for too long.
    pub evictions: u64,
    /// Flows that got none.
    pub refusals: u64,
}

/// An interface of the configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `native` or `generic`; empty while nothing is attached.
    pub mode: String,
    /// Whether the program is attached.
    pub attached: bool,
    /// Whether it is the variant for frames in several buffers.
    #[serde(default)]
    pub jumbo: bool,
}

/// A registry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its service.
    pub service: ServiceName,
    /// Whether its last answer was good.
    pub up: bool,
    /// Seconds for which the list in force has not been known to be true; 0 while the registry
    /// answers.
    pub age_seconds: u64,
    /// What is wrong with it.
    pub error: Option<String>,
}

/// Packets with one verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerdictCount {
    /// `pass`, `tx`, `redirect` or `drop`.
    pub action: String,
    /// The verdict's name.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// Services.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Services {
    /// Version of this document.
    pub version: u32,
    /// In the order of their names.
    pub services: Vec<ServiceItem>,
}

/// A service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceItem {
    /// Its name.
    pub name: ServiceName,
    /// Address that clients reach, or prefix of addresses.
    pub vip: Vip,
    /// Port that clients reach, or the first of a range; 0 is every port.
    pub port: u16,
    /// Last port of a range; null where it is none.
    #[serde(default)]
    pub last_port: Option<u16>,
    /// Protocol.
    pub protocol: Protocol,
    /// `l2` or `ipip`.
    pub forward: String,
    /// How new flows find their backend, in the word of the configuration.
    pub scheduler: String,
    /// How far clients' addresses count; null where flows are not told apart by these.
    #[serde(default)]
    pub affinity: Option<AffinityItem>,
    /// What it asks for beyond sending packets to backends.
    #[serde(default)]
    pub policy: PolicyItem,
    /// Backends.
    pub backends: usize,
    /// Backends that take new flows.
    pub backends_up: usize,
    /// Slots of its table.
    pub slots: usize,
    /// Slots that still remember the backend before the last change.
    pub disputed_slots: usize,
    /// Share of the fullest backend divided by its weight's share; 1 is exact. Null without a
    /// table.
    pub fullest_share: Option<f64>,
    /// What the last change of the table moved; null before the first since the daemon began.
    #[serde(default)]
    pub last_movement: Option<MovementItem>,
    /// Packets sent on.
    pub packets: u64,
    /// Bytes sent on.
    pub bytes: u64,
    /// TCP flows that began.
    pub new_flows: u64,
    /// What becomes of flows whose backend takes no new ones any more.
    #[serde(default)]
    pub flow_rules: FlowRulesItem,
    /// Backends that were removed and whose flows are not over.
    #[serde(default)]
    pub departed: Vec<DepartedItem>,
    /// How it stands.
    #[serde(default)]
    pub standing: StandingItem,
    /// How many backends it asks for; null where the configuration says nothing of scaling, and in
    /// the first second.
    #[serde(default)]
    pub scaling: Option<ScalingItem>,
    /// Its backends, where one service was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<BackendItem>,
}

/// How a service stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingItem {
    /// The priority that serves; null while nobody could.
    pub serving: Option<Priority>,
    /// Whether enough of its backends are well.
    pub quorum: bool,
    /// Whether backends get traffic that are not well, since too few are.
    pub panic: bool,
    /// Backends of the priority that serves which are well.
    pub well: u32,
    /// Those and others that would serve if they were well.
    pub meant: u32,
}

/// How many backends a service asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingItem {
    /// What is taken for its load.
    pub measure: Measure,
    /// The load, smoothed.
    pub load: f64,
    /// Backends of weight 100 that the load of now needs.
    pub demand: u32,
    /// Backends that the load at the horizon will need.
    pub predicted: u32,
    /// Backends that it asks for.
    pub desired: u32,
    /// What that follows from, as one phrase.
    pub evidence: String,
}

/// What becomes of flows whose backend takes no new ones any more: `keep`, `keep 10s, then reset`,
/// `reselect` or `reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRulesItem {
    /// It drains.
    pub on_drain: String,
    /// It is down, or in maintenance.
    pub on_down: String,
    /// It was removed.
    pub on_remove: String,
}

/// A backend that was removed and whose flows are not over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartedItem {
    /// Its own address.
    pub address: IpAddr,
    /// What becomes of its flows: `kept` or `reset`.
    pub flows: String,
    /// Seconds until something else becomes of them; null where nothing does.
    pub seconds_left: Option<u64>,
}

/// How far clients' addresses count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityItem {
    /// Leading bits that count.
    pub prefix: u8,
    /// Seconds without a new flow after which a client is forgotten; null where none is remembered.
    pub timeout_seconds: Option<u64>,
}

/// Backends.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backends {
    /// Version of this document.
    pub version: u32,
    /// In the order of services and addresses.
    pub backends: Vec<BackendItem>,
}

/// A backend.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackendItem {
    /// Its service.
    pub service: ServiceName,
    /// Its own address.
    pub address: IpAddr,
    /// Port at which it gets translated packets; null where they keep the one that clients reach.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its effective state.
    pub state: State,
    /// Why it is in that state.
    pub reason: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// Weight in force while it is up.
    pub weight: Weight,
    /// Weight as configured.
    pub configured_weight: Weight,
    /// When its turn comes: those with the lowest number serve, others stand by for them.
    #[serde(default)]
    pub priority: Priority,
    /// Flows in progress; null where the service's scheduler does not ask.
    #[serde(default)]
    pub flows: Option<u32>,
    /// How long it takes to answer, in microseconds; null where the scheduler does not ask, or that is
    /// not known.
    #[serde(default)]
    pub latency_microseconds: Option<u32>,
    /// What the operator said.
    pub mode: Mode,
    /// Where it comes from.
    pub origin: Origin,
    /// What checks say: `up`, `down` or `unknown`; null where it is not checked.
    pub health: Option<String>,
    /// How long the last check that passed took, in milliseconds.
    pub check_milliseconds: Option<f64>,
    /// What its agent asks for: `up`, `down`, `drain`, `maint`, and a weight as `weight 50` or `75%`;
    /// null where there is none, or it has said nothing yet.
    #[serde(default)]
    pub agent: Option<String>,
    /// When its agent was last heard, in seconds since 1970; null if it never was since it is asked.
    #[serde(default)]
    pub agent_heard: Option<u64>,
    /// Why its agent is not heard; null while it is, or there is none.
    #[serde(default)]
    pub agent_failure: Option<String>,
    /// What its traffic shows: why it is ejected, or has a part of its weight only; null if nothing
    /// speaks against it.
    #[serde(default)]
    pub traffic: Option<String>,
    /// Its last checks, the latest first, where one backend was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckItem>,
    /// Share of the service's slots.
    pub slots_share: f64,
    /// The way to it: interface and next hop, or what is wrong.
    pub next_hop: String,
    /// Packets sent to it.
    pub packets: u64,
    /// Bytes sent to it.
    pub bytes: u64,
    /// TCP flows that began there.
    pub new_flows: u64,
}

/// A check that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckItem {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// What came of it, in the word that HAProxy has for it: `L4OK`, `L4TOUT`, `L7STS` and so on.
    pub code: String,
    /// How long it took, if it passed.
    pub milliseconds: Option<f64>,
    /// Why it did not pass.
    pub failure: Option<String>,
}

/// Where a flow goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lookup {
    /// Version of this document.
    pub version: u32,
    /// Its service.
    pub service: ServiceName,
    /// The backend of the flow's next packet.
    pub backend: IpAddr,
    /// The backend that a new connection from the same address and port would get; null where no
    /// backend takes new flows, or a scheduler chooses it.
    pub new_flows: Option<IpAddr>,
    /// Whether a scheduler chooses the backend of a new connection when it comes.
    #[serde(default)]
    pub scheduled: bool,
    /// How it follows.
    pub reason: String,
    /// The slot, counted from 0 in the service's table.
    pub slot: usize,
    /// Number of slots of the service.
    pub slots: usize,
}
