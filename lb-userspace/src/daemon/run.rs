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

use super::{Daemon, Registry, flow_cache::Walked, nat_flows::Pass, now};
use crate::{
    api::server::Call,
    datapath::tables::Epoch,
    health::CheckResult,
    metrics::Report,
    model::{Scheduler, ServiceName},
    netlink::WayEvent,
    source::{Snapshot, SourceEvent},
};

/// Where tasks report to the daemon.
pub(super) struct Channels {
    pub(super) calls: mpsc::Sender<Call>,
    pub(super) reports: mpsc::Sender<oneshot::Sender<Report>>,
    pub(super) checks: mpsc::Sender<CheckResult>,
    pub(super) sources: mpsc::Sender<SourceEvent>,
    pub(super) ways: mpsc::Sender<WayEvent>,
    pub(super) reclaims: mpsc::Sender<Epoch>,
    pub(super) sweeps: mpsc::Sender<Pass>,
    pub(super) walks: mpsc::Sender<Walked>,
}

/// Where the daemon hears them.
pub(super) struct Events {
    calls: mpsc::Receiver<Call>,
    reports: mpsc::Receiver<oneshot::Sender<Report>>,
    checks: mpsc::Receiver<CheckResult>,
    sources: mpsc::Receiver<SourceEvent>,
    ways: mpsc::Receiver<WayEvent>,
    reclaims: mpsc::Receiver<Epoch>,
    sweeps: mpsc::Receiver<Pass>,
    walks: mpsc::Receiver<Walked>,
}

impl Channels {
    pub(super) fn new(queue: usize) -> (Self, Events) {
        let (calls, calls_heard) = mpsc::channel(queue);
        let (reports, reports_heard) = mpsc::channel(queue);
        let (checks, checks_heard) = mpsc::channel(queue);
        let (sources, sources_heard) = mpsc::channel(queue);
        let (ways, ways_heard) = mpsc::channel(queue);
        let (reclaims, reclaims_heard) = mpsc::channel(queue);
        let (sweeps, sweeps_heard) = mpsc::channel(1);
        let (walks, walks_heard) = mpsc::channel(1);
        let events = Events {
            calls: calls_heard,
            reports: reports_heard,
            checks: checks_heard,
            sources: sources_heard,
            ways: ways_heard,
            reclaims: reclaims_heard,
            sweeps: sweeps_heard,
            walks: walks_heard,
        };
        (Self { calls, reports, checks, sources, ways, reclaims, sweeps, walks }, events)
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
/// Time in which changes of health are gathered into one change of tables. Failures are urgent;
/// what comes up, at the start above all, comes up together.
const GATHER_DOWN: Duration = Duration::from_millis(10);
const GATHER_UP: Duration = Duration::from_millis(100);

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
                    let answer = self.answer(call.request);
                    // Who asked may be gone.
                    let _ = call.answer.send(answer);
                }
                Some(report) = events.reports.recv() => {
                    self.apply_gathered();
                    let _ = report.send(self.report());
                }
                Some(result) = events.checks.recv() => self.take_check(&result),
                Some(event) = events.sources.recv() => self.take_source(event),
                Some(event) = events.ways.recv() => {
                    if self.take_way(event.address, event.way) {
                        self.apply();
                    }
                }
                Some(epoch) = events.reclaims.recv() => self.take_reclaim(epoch),
                Some(pass) = events.sweeps.recv() => self.take_pass(pass),
                Some(walked) = events.walks.recv() => self.take_walk(walked),
                Some(own) = self.own_addresses.changed() => self.take_own_addresses(own),
                () = due(self.apply_at) => self.apply(),
                () = due(self.flows_end_at) => self.apply(),
                _ = tick.tick() => {
                    self.sweep_nat_flows();
                    self.look_at_flows();
                    self.look_around().await;
                }
            }
        }
        tracing::info!("stopping; the data plane goes on: `lbctl detach` removes it");
    }

    /// Nobody is told of a state before the tables have it.
    fn apply_gathered(&mut self) {
        if self.apply_at.is_some() {
            self.apply();
        }
    }

    fn take_check(&mut self, result: &CheckResult) {
        self.checks.entry(result.backend.clone()).or_default().record(&result.outcome);
        self.note_latency(result);
        if self.control.judge(result, now()) {
            let gather = if result.outcome.is_ok() { GATHER_UP } else { GATHER_DOWN };
            let at = Instant::now() + gather;
            self.apply_at = Some(self.apply_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn take_source(&mut self, event: SourceEvent) {
        if !self.sources.is_current(&event) {
            return;
        }
        match event {
            SourceEvent::Answered { service, snapshot, at, .. } => {
                let backends = snapshot.backends.len();
                self.warn_of_priorities(&service, &snapshot);
                if let Err(error) = self.control.register(&service, snapshot) {
                    tracing::error!(%service, %error, "the registry's answer is refused");
                    self.registry_failed(&service, error.to_string(), at);
                    return;
                }
                let registry = self.registries.entry(service.clone()).or_default();
                registry.answers += 1;
                (registry.failing_since, registry.error) = (None, None);
                tracing::info!(%service, backends, "the registry answered");
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

    /// Says once that a registry names priorities to a service in which nobody stands by.
    fn warn_of_priorities(&mut self, service: &ServiceName, snapshot: &Snapshot) {
        let scheduler = self.control.services().get(service).map(|service| service.scheduler);
        let stands_by = scheduler == Some(Scheduler::PrimaryBackup);
        if stands_by || snapshot.backends.iter().all(|backend| backend.priority == 0) {
            return;
        }
        let registry = self.registries.entry(service.clone()).or_default();
        if !std::mem::replace(&mut registry.named_priorities, true) {
            tracing::warn!(
                %service,
                "the registry's priorities count for nothing: they need \
                 scheduler = \"primary-backup\""
            );
        }
    }

    fn registry_failed(&mut self, service: &ServiceName, error: String, at: Instant) {
        let registry: &mut Registry = self.registries.entry(service.clone()).or_default();
        registry.failures += 1;
        registry.error = Some(error);
        registry.failing_since.get_or_insert(at);
    }
}
