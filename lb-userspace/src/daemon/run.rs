//! The daemon's loop: one event at a time.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{Daemon, Registry, flow_cache::Walked, nat_flows::Pass};
use crate::{
    api::server::Call,
    datapath::{tables::Epoch, unreachables::Unreachable},
    event::Event,
    health::{AgentResult, CheckResult},
    metrics::Report,
    model::ServiceName,
    netlink::WayEvent,
    source::SourceEvent,
};

/// Where tasks report to the daemon.
pub(super) struct Channels {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) reports: mpsc::Sender<oneshot::Sender<Report>>,
    pub(super) checks: mpsc::Sender<CheckResult>,
    pub(super) agents: mpsc::Sender<AgentResult>,
    pub(super) unreachables: mpsc::Sender<Unreachable>,
    pub(super) sources: mpsc::Sender<SourceEvent>,
    pub(super) ways: mpsc::Sender<WayEvent>,
    pub(super) reclaims: mpsc::Sender<Epoch>,
    pub(super) sweeps: mpsc::Sender<Pass>,
    pub(super) walks: mpsc::Sender<Walked>,
    pub(super) hooks: mpsc::Sender<Event>,
}

/// Where the daemon hears them.
pub(super) struct Events {
    calls: mpsc::Receiver<Call>,
    reports: mpsc::Receiver<oneshot::Sender<Report>>,
    checks: mpsc::Receiver<CheckResult>,
    agents: mpsc::Receiver<AgentResult>,
    unreachables: mpsc::Receiver<Unreachable>,
    sources: mpsc::Receiver<SourceEvent>,
    ways: mpsc::Receiver<WayEvent>,
    reclaims: mpsc::Receiver<Epoch>,
    sweeps: mpsc::Receiver<Pass>,
    walks: mpsc::Receiver<Walked>,
    hooks: mpsc::Receiver<Event>,
}

impl Channels {
    pub(super) fn new(queue: usize) -> (Self, Events) {
        let (calls, calls_heard) = mpsc::channel(queue);
        let (reports, reports_heard) = mpsc::channel(queue);
        let (checks, checks_heard) = mpsc::channel(queue);
        let (agents, agents_heard) = mpsc::channel(queue);
        let (unreachables, unreachables_heard) = mpsc::channel(queue);
        let (sources, sources_heard) = mpsc::channel(queue);
        let (ways, ways_heard) = mpsc::channel(queue);
        let (reclaims, reclaims_heard) = mpsc::channel(queue);
        let (sweeps, sweeps_heard) = mpsc::channel(1);
        let (walks, walks_heard) = mpsc::channel(1);
        let (hooks, hooks_heard) = mpsc::channel(queue);
        let events = Events {
            calls: calls_heard,
            reports: reports_heard,
            checks: checks_heard,
            agents: agents_heard,
            unreachables: unreachables_heard,
            sources: sources_heard,
            ways: ways_heard,
            reclaims: reclaims_heard,
            sweeps: sweeps_heard,
            walks: walks_heard,
            hooks: hooks_heard,
        };
        (
            Self {
                calls,
                reports,
                checks,
                agents,
                unreachables,
                sources,
                ways,
                reclaims,
                sweeps,
                walks,
                hooks,
            },
            events,
        )
    }
}

/// What the daemon is told by signals. Caught from the very start: a SIGHUP that nobody catches ends
/// the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}

/// Time between two looks at what nobody reports.
const TICK: Duration = Duration::from_secs(1);

/// Waits until a time; for ever, if there is none.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Serves until it is told to stop.
    pub(super) async fn run(mut self, mut events: Events, signals: Signals) {
        let Signals { mut terminate, mut interrupt, mut hang_up } = signals;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => self.reload_file(),
                Some(call) = events.calls.recv() => {
                    self.apply_gathered();
                    let reply = self.reply(call.request);
                    // Who asked may be gone.
                    let _ = call.answer.send(reply);
                }
                Some(report) = events.reports.recv() => {
                    self.apply_gathered();
                    let _ = report.send(self.report());
                }
                Some(result) = events.checks.recv() => self.take_check(result),
                Some(result) = events.agents.recv() => self.take_agent(result),
                Some(error) = events.unreachables.recv() => self.take_unreachable(error),
                Some(event) = events.sources.recv() => self.take_source(event),
                Some(event) = events.ways.recv() => {
                    if self.take_way(event.address, event.way) {
                        self.apply();
                    }
                }
                Some(epoch) = events.reclaims.recv() => self.take_reclaim(epoch),
                Some(pass) = events.sweeps.recv() => self.take_pass(pass),
                Some(walked) = events.walks.recv() => self.take_walk(walked),
                Some(event) = events.hooks.recv() => self.tell(event),
                Some(own) = self.own_addresses.changed() => self.take_own_addresses(own),
                () = due(self.apply_at) => self.apply(),
                () = due(self.next_step_at) => self.apply(),
                _ = tick.tick() => {
                    self.sweep_nat_flows();
                    self.look_at_flows();
                    self.look_at_check_path();
                    self.look_at_traffic();
                    self.keep();
                    self.look_at_loads();
                    self.look_around().await;
                }
            }
        }
        self.keep_all().await;
        tracing::info!("stopping; the data plane goes on: `lbctl detach` removes it");
    }

    /// Nobody is told of a state before the tables have it.
    fn apply_gathered(&mut self) {
        if self.apply_at.is_some() {
            self.apply();
        }
    }

    fn take_source(&mut self, event: SourceEvent) {
        if !self.sources.is_current(&event) {
            return;
        }
        match event {
            SourceEvent::Answered { service, snapshot, at, .. } => {
                let backends = snapshot.backends.len();
                if let Err(error) = self.control.register(&service, snapshot) {
                    tracing::error!(%service, %error, "the registry's answer is refused");
                    self.registry_failed(&service, error.to_string(), at);
                    return;
                }
                let registry = self.registries.entry(service.clone()).or_default();
                registry.answers += 1;
                registry.error = None;
                let is_back = registry.failing_since.take().is_some();
                tracing::info!(%service, backends, "the registry answered");
                if is_back {
                    let reason = format!("it answers again, with {backends} backends");
                    self.tell_registry(&service, "up", reason);
                }
                self.remember("registered", |state, control| {
                    state.set_registered(control.registered())
                });
                self.apply();
            }
            SourceEvent::Failed { service, error, .. } => {
                tracing::warn!(%service, error, "registry: the last good answer stays in force");
                self.registry_failed(&service, error, Instant::now());
            }
        }
    }

    fn registry_failed(&mut self, service: &ServiceName, error: String, at: Instant) {
        let registry: &mut Registry = self.registries.entry(service.clone()).or_default();
        registry.failures += 1;
        registry.error = Some(error.clone());
        if registry.failing_since.is_none() {
            registry.failing_since = Some(at);
            self.tell_registry(service, "down", error);
        }
    }
}
