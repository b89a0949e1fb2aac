//! From a configuration file to a daemon that serves. Nothing is touched before everything that
//! can be checked is checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_common::Forward;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
};

use super::{
    ConfigFile, Daemon, Interface, Work,
    agents::Agents,
    check_log::CheckLog,
    check_path::CheckPath,
    events::journal::Journal,
    flow_cache::FlowCache,
    heap,
    kept::Kept,
    memory::{Applied, MemoryError, StateDir},
    nat_flows::{self, NatFlows},
    now,
    observer::DaemonObserver,
    own_addresses::OwnAddresses,
    passive::Watch,
    run::{Channels, Events, Signals},
};
use crate::{
    api::server,
    config::{Config, ConfigError},
    control::{Control, ControlError},
    datapath::{
        Datapath, DatapathError,
        desired::CommitError,
        kernel_version::{self, UnsupportedKernel},
    },
    health::Checker,
    hooks::Hooks,
    metrics,
    netlink::{self, Neighbours, Via},
    source::Sources,
};

/// Why the daemon does not start, as a sentence with its place.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] UnsupportedKernel),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration together with what operators said.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The state directory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The control socket.
    #[error("daemon.api_socket {path}: {source}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The metrics' port.
    #[error("daemon.metrics_listen {address}: {source}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An interface is not there.
    #[error("daemon.interfaces: there is no interface `{0}`: see `ip link`")]
    NoInterface(String),
    /// The data plane.
    #[error(transparent)]
    Datapath(#[from] DatapathError),
    /// The tables.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Netlink or signals.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Longest time to wait for next hops before the first tables are made.
const NEXT_HOPS_WITHIN: Duration = Duration::from_secs(1);
/// Events that may wait; who has more waits himself.
const QUEUE: usize = 1024;

/// Starts, serves until SIGTERM or SIGINT, and leaves the data plane serving.
pub async fn run(config_path: &Path) -> Result<(), StartError> {
    kernel_version::require_supported()?;
    let signals = Signals::catch().map_err(system("catching signals"))?;
    let text = read(config_path)?;
    let on_disk = Config::parse(&config_path.display().to_string(), &text)?;
    let state = StateDir::open(&on_disk.daemon.state_dir)?;
    let (config, origin) = choose(on_disk, &text, config_path, &state)?;
    let control = Control::new(config.clone(), state.recall()?)?;
    for name in &config.daemon.interfaces {
        let interface = netlink::interface(name).await.map_err(system("asking for interfaces"))?;
        interface.ok_or_else(|| StartError::NoInterface(name.clone()))?;
    }
    let metrics = listen_metrics(config.daemon.metrics_listen).await?;
    let socket = config.daemon.api_socket.clone();
    let api = server::listen(&socket)
        .map_err(|source| StartError::Socket { path: socket.clone(), source })?;

    let file = ConfigFile {
        path: config_path.to_owned(),
        text,
        origin,
        refusal: None,
        last_success: SystemTime::now(),
    };
    let result = begin_and_serve(control, state, file, Ears { api, metrics, signals }).await;
    // Whatever becomes of the data plane, the socket would only mislead.
    let _ = std::fs::remove_file(socket);
    result
}

async fn begin_and_serve(
    control: Control,
    state: StateDir,
    file: ConfigFile,
    ears: Ears,
) -> Result<(), StartError> {
    let (channels, events) = Channels::new(QUEUE);
    let (readiness, seen) = watch::channel(vec!["lbd is starting".to_owned()]);
    let mut daemon = build(control, state, file, &channels, readiness)?;
    daemon.begin().await?;
    let observer = Arc::new(DaemonObserver::new(channels.reports.clone(), seen));
    serve(daemon, events, channels, ears, observer).await;
    Ok(())
}

/// What the daemon listens to.
struct Ears {
    api: UnixListener,
    metrics: Option<TcpListener>,
    signals: Signals,
}

async fn serve(
    daemon: Daemon,
    events: Events,
    channels: Channels,
    ears: Ears,
    observer: Arc<DaemonObserver>,
) {
    let serve_metrics = async {
        match ears.metrics {
            Some(listener) => metrics::serve(listener, observer).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = daemon.run(events, ears.signals) => {}
        () = server::serve(ears.api, channels.calls.clone()) => {}
        () = serve_metrics => {}
    }
}

fn build(
    control: Control,
    state: StateDir,
    config: ConfigFile,
    channels: &Channels,
    readiness: watch::Sender<Vec<String>>,
) -> Result<Daemon, StartError> {
    let datapath = Datapath::open(&control.config().daemon)?;
    let interface =
        |name: &String| Interface { name: name.clone(), mode: None, jumbo: false, problem: None };
    let interfaces = control.config().daemon.interfaces.iter().map(interface).collect();
    let neighbours = Neighbours::start(attached(&control.config().daemon), channels.ways.clone())
        .map_err(system("opening a netlink socket"))?;
    let own_addresses = OwnAddresses::follow().map_err(system("opening a netlink socket"))?;
    let nat_sweep = datapath.nat_sweep().map_err(DatapathError::from)?;
    let flow_count = datapath.flow_count().map_err(DatapathError::from)?;
    Ok(Daemon {
        agents: Agents::default(),
        kept: Kept::new(control.asked()),
        control,
        datapath,
        state,
        checker: Checker::new(channels.checks.clone(), channels.agents.clone()),
        check_log: CheckLog::default(),
        check_path: CheckPath::default(),
        watch: Watch::new(channels.unreachables.clone()),
        sources: Sources::new(channels.sources.clone()),
        neighbours,
        ways: BTreeMap::new(),
        interfaces,
        is_unplugged: false,
        checks: BTreeMap::new(),
        registries: BTreeMap::new(),
        disputes: BTreeMap::new(),
        config,
        work: Work::default(),
        started: Instant::now(),
        apply_at: None,
        next_step_at: None,
        commit_problem: None,
        readiness,
        reclaims: channels.reclaims.clone(),
        reclaiming: false,
        nat_flows: NatFlows::new(nat_sweep, channels.sweeps.clone()),
        flow_cache: FlowCache::new(flow_count, channels.walks.clone()),
        loads: super::scaling::Loads::default(),
        own_addresses,
        journal: Journal::new(now()),
        hooks: Hooks::new(channels.hooks.clone()),
    })
}

/// Names of the interfaces by which packets come in.
fn attached(daemon: &crate::config::Daemon) -> BTreeSet<String> {
    daemon.interfaces.iter().cloned().collect()
}

impl Daemon {
    /// Makes the tables and then sends packets through them.
    async fn begin(&mut self) -> Result<(), StartError> {
        self.hooks.replace(&self.control.config().hooks);
        self.presume_registered();
        self.presume_departed();
        let adopted: BTreeSet<IpAddr> = self.datapath.tables.reachable().collect();
        for address in adopted {
            // What packets are sent to now is of use; how they get there is known in a moment.
            self.control.reached(address, Via::Direct);
        }
        let attached = attached(&self.control.config().daemon);
        let addresses = self.control.addresses();
        let ways = netlink::resolve_once(attached, &addresses, NEXT_HOPS_WITHIN).await;
        for (address, way) in ways {
            // Who has not answered yet may only be slow: until it is given up, packets go where
            // they went before.
            if way.is_ok() {
                self.take_way(address, way);
            } else {
                self.ways.insert(address, way);
            }
        }
        self.presume_health();
        for key in self.datapath.tables.disputed() {
            self.disputes.insert(key, Instant::now());
        }
        let clock = self.clock();
        self.control.note(clock);
        let desired = self.control.desired(clock);
        self.try_commit(desired, clock)?;
        let daemon = self.control.config().daemon.clone();
        // First those that may refuse: the others go on with an update, which nobody does.
        let mut order: Vec<usize> = (0..self.interfaces.len()).collect();
        order.sort_by_key(|index| self.datapath.has_attachment(&self.interfaces[*index].name));
        for index in order {
            self.attach(index, daemon.xdp_mode)?;
        }
        self.datapath.settle(&daemon.interfaces)?;
        self.refresh_interfaces().await;
        let own = netlink::local_addresses().await.map_err(system("asking for addresses"))?;
        self.take_own_addresses(own);
        self.announce(&daemon);
        self.apply();
        Ok(())
    }

    fn announce(&self, daemon: &crate::config::Daemon) {
        let services = self.control.services();
        if services.values().any(|service| service.forward == Forward::Nat) {
            nat_flows::warn_of_shared_ports(daemon.nat_ports);
        }
        if daemon.hash_seed.reveal().is_empty() {
            tracing::warn!(
                "daemon.hash_seed is not set: who knows lb can aim flows at one backend; set the \
                 same secret on all load balancers of a group"
            );
        }
        heap::give_back();
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            services = self.control.services().len(),
            backends = self.control.views().count(),
            adopted = self.datapath.adopted,
            map_bytes = self.datapath.map_bytes,
            resident_bytes = metrics::Process::read().resident_bytes,
            verified_instructions = self.datapath.verified_instructions(),
            config = self.config.origin,
            "serving"
        );
    }
}

/// The configuration in force: one that came over the API, as long as the file has not changed
/// since; else the file's.
fn choose(
    on_disk: Config,
    text: &str,
    path: &Path,
    state: &StateDir,
) -> Result<(Config, String), StartError> {
    let Some(Applied { file, text: applied, instead_of }) = state.applied()? else {
        return Ok((on_disk, path.display().to_string()));
    };
    if instead_of != text {
        tracing::info!(file = %path.display(), "the file has changed: it replaces what was applied");
        state.set_applied(None)?;
        return Ok((on_disk, path.display().to_string()));
    }
    let config = Config::parse(&file, &applied)?;
    Ok((config, format!("{file}, applied by lbctl")))
}

async fn listen_metrics(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await;
    listener.map(Some).map_err(|source| StartError::Metrics { address, source })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::unreadable(path, &source))
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}
