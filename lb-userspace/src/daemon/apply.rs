//! From what the control core wants to what the world does.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use lb_common::{Address, Link, NextHop};

use super::{
    Daemon,
    memory::{Applied, MemoryError, StateDir},
    now,
};
use crate::{
    config::{Config, XdpMode},
    control::{Control, ControlError, State, Transition},
    datapath::{
        DatapathError,
        desired::{CommitError, Route},
        tables,
    },
    netlink::{self, Fault, Way, XdpAttachMode},
};

impl Daemon {
    /// Makes tables, checks and watches as the control core wants them.
    pub(super) fn apply(&mut self) {
        self.apply_at = None;
        self.neighbours.watch(self.control.addresses());
        match self.try_commit() {
            Ok(()) => self.commit_problem = None,
            Err(error) => {
                tracing::error!(%error, "the tables could not be changed; the old ones serve");
                self.commit_problem = Some(error.to_string());
            }
        }
        self.checker.reconcile(self.control.targets());
        self.sources.reconcile(self.control.sources());
        let transitions = self.control.transitions(now());
        transitions.iter().for_each(log);
        if !transitions.is_empty() {
            self.remember("health", |state, control| {
                state.set_health(control.health())
            });
            let control = &self.control;
            self.checks
                .retain(|backend, _| control.health().contains_key(backend));
            self.registries
                .retain(|service, _| control.services().contains_key(service));
        }
        self.publish_readiness();
    }

    /// Makes the tables say what the control core wants.
    pub(super) fn try_commit(&mut self) -> Result<(), CommitError> {
        let desired = self.control.desired();
        let ways = &self.ways;
        let route = |address: &Address| {
            let way = ways.get(&IpAddr::from(*address))?.as_ref().ok()?;
            Some(route_of(way))
        };
        let committed = self.datapath.tables.commit(&desired, route)?;
        for id in &committed.new_services {
            forgive(self.datapath.counters.clear_service(*id));
        }
        for index in &committed.new_backends {
            forgive(self.datapath.counters.clear_backend(*index));
        }
        if committed.tables > 0 {
            self.work.rebuilds += u64::from(committed.tables);
            self.work.moved_slots += u64::from(committed.moved_slots);
            for key in self.datapath.tables.disputed() {
                self.disputes.insert(key, Instant::now());
            }
            tracing::debug!(
                tables = committed.tables,
                moved_slots = committed.moved_slots,
                "new tables are in force"
            );
        }
        self.reclaim();
        Ok(())
    }

    /// Gives back what packets do not read any more, after a grace period in another thread.
    fn reclaim(&mut self) {
        if self.reclaiming || !self.datapath.tables.has_retired() {
            return;
        }
        self.reclaiming = true;
        let (count, reclaims) = (self.datapath.tables.retired(), self.reclaims.clone());
        tokio::task::spawn_blocking(move || {
            tables::synchronize();
            // The daemon may be gone.
            let _ = reclaims.blocking_send(count);
        });
    }

    pub(super) fn take_reclaim(&mut self, count: usize) {
        self.datapath.tables.reclaim(count);
        self.reclaiming = false;
        self.reclaim();
    }

    /// Takes in the way to an address. True if the control core must be asked anew.
    pub(super) fn take_way(&mut self, address: IpAddr, way: Result<Way, Fault>) -> bool {
        match &way {
            Ok(way) => {
                tracing::debug!(%address, interface = way.interface_name, "next hop known");
                self.datapath
                    .tables
                    .reroute(&address.into(), Some(route_of(way)));
            }
            Err(fault) => {
                tracing::warn!(%address, %fault, "no next hop");
                self.datapath.tables.reroute(&address.into(), None);
            }
        }
        let is_first = way.is_ok() && self.control.reached(address);
        self.ways.insert(address, way);
        is_first
    }

    /// Reads the configuration file again; what lbctl applied is over.
    pub(super) fn reload_file(&mut self) {
        let path = self.config.path.clone();
        let result = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))
            .and_then(|text| {
                let file = path.display().to_string();
                self.reload(&file, &text)
                    .map_err(|error| error.to_string())?;
                Ok(text)
            });
        match result {
            Ok(text) => {
                self.config.text = text;
                self.config.origin = path.display().to_string();
                self.remember("applied", |state, _| state.set_applied(None));
                tracing::info!(file = %path.display(), "the configuration was read again");
            }
            Err(error) => {
                tracing::error!(
                    error,
                    "the configuration is refused; the one in force stays"
                );
            }
        }
    }

    /// Takes over a configuration that came over the API, until the file changes.
    pub(super) fn apply_text(&mut self, file: &str, text: String) -> Result<(), ControlError> {
        self.reload(file, &text)?;
        self.config.origin = format!("{file}, applied by lbctl");
        let instead_of = self.config.text.clone();
        let applied = Applied {
            file: file.to_owned(),
            text,
            instead_of,
        };
        self.remember("applied", |state, _| state.set_applied(Some(&applied)));
        Ok(())
    }

    fn reload(&mut self, file: &str, text: &str) -> Result<(), ControlError> {
        let result = Config::parse(file, text)
            .map_err(ControlError::from)
            .and_then(|config| self.control.reload(config));
        self.config.last_reload_success = result.is_ok();
        if result.is_ok() {
            self.config.last_success = std::time::SystemTime::now();
            self.remember("intents", |state, control| {
                state.set_intents(control.intents())
            });
        }
        self.apply();
        result
    }

    /// Writes something down. A full disk must not stop traffic, but somebody must know.
    pub(super) fn remember(
        &self,
        what: &str,
        write: impl FnOnce(&StateDir, &Control) -> Result<(), MemoryError>,
    ) {
        if let Err(error) = write(&self.state, &self.control) {
            tracing::error!(%error, what, "cannot be written down: a restart will not know it");
        }
    }

    /// What is not reported but looked at, once a second.
    pub(super) async fn look_around(&mut self) {
        self.refresh_interfaces().await;
        let mode = self.control.config().daemon.xdp_mode;
        for index in 0..self.interfaces.len() {
            if self.interfaces[index].mode.is_none() {
                // The reason is kept and shown.
                let _ = self.attach(index, mode);
            }
        }
        self.settle_disputes();
        self.publish_readiness();
    }

    /// Sends the packets of an interface through the program.
    pub(super) fn attach(&mut self, index: usize, mode: XdpMode) -> Result<(), DatapathError> {
        let name = self.interfaces[index].name.clone();
        match self.datapath.attach(&name, mode) {
            Ok(mode) => {
                let mode = mode.map(|mode| {
                    if mode == XdpMode::Native {
                        "native"
                    } else {
                        "generic"
                    }
                });
                if let Some(mode) = mode {
                    tracing::info!(interface = name, mode, "attached");
                }
                self.interfaces[index].mode = mode.or(self.interfaces[index].mode);
                self.interfaces[index].problem = None;
                Ok(())
            }
            Err(error) => {
                let message = error.to_string();
                if self.interfaces[index].problem.as_ref() != Some(&message) {
                    tracing::warn!(interface = name, %error, "not attached");
                }
                self.interfaces[index].problem = Some(message);
                Err(error)
            }
        }
    }

    /// Asks the kernel how interfaces are attached: somebody else may have changed it.
    pub(super) async fn refresh_interfaces(&mut self) {
        for interface in &mut self.interfaces {
            let attached = netlink::interface(&interface.name).await.ok().flatten();
            interface.mode = attached
                .and_then(|found| found.xdp)
                .map(|xdp| mode_name(xdp.mode));
        }
    }

    /// Ends disputes that have lasted for the grace time.
    fn settle_disputes(&mut self) {
        let services = self.control.services();
        let mut over = Vec::new();
        for (key, since) in &mut self.disputes {
            let service = services.values().find(|service| service.key() == *key);
            let Some(service) = service else {
                over.push(*key);
                continue;
            };
            if since.elapsed() < service.flow_grace {
                continue;
            }
            let drained: Vec<u16> = self
                .control
                .views_of(service)
                .into_iter()
                .filter(|view| view.effective.state == State::Drain)
                .filter_map(|view| {
                    self.datapath
                        .tables
                        .backend_id(key, &Address::from(view.name.address))
                })
                .collect();
            let drains = |id| drained.contains(&id);
            let left = self
                .datapath
                .tables
                .settle(key, ticks(service.flow_grace), drains);
            tracing::debug!(service = %service.name, left, "disputed slots after the grace time");
            if left == 0 {
                over.push(*key);
            } else {
                *since += LOOK_AGAIN;
            }
        }
        for key in over {
            self.disputes.remove(&key);
        }
    }

    /// Tells the readiness probe what keeps packets from being balanced. A registry that fails or
    /// a configuration that is refused does not: what was in force goes on.
    pub(super) fn publish_readiness(&mut self) {
        let problems = self.serving_problems();
        self.readiness.send_if_modified(|before| {
            let changed = *before != problems;
            *before = problems;
            changed
        });
    }

    fn serving_problems(&self) -> Vec<String> {
        let unattached = self
            .interfaces
            .iter()
            .filter(|interface| interface.mode.is_none());
        let interfaces = unattached.map(|interface| match &interface.problem {
            Some(problem) => problem.clone(),
            None => format!("interface `{}` has no XDP program", interface.name),
        });
        interfaces.chain(self.commit_problem.clone()).collect()
    }

    /// All that somebody should look at.
    pub(super) fn problems(&self) -> Vec<String> {
        let registries = self.registries.iter().filter_map(|(service, registry)| {
            Some(format!(
                "registry of `{service}`: {}",
                registry.error.as_ref()?
            ))
        });
        let reload = (!self.config.last_reload_success)
            .then(|| "the last configuration was refused; see the log".to_owned());
        self.serving_problems()
            .into_iter()
            .chain(registries)
            .chain(reload)
            .collect()
    }
}

/// Time until slots that are still in use after the grace time are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Ticks of the flow cache in a time, where a second has the most of them (1,000 Hz): on slower
/// kernels flows count as alive for longer.
fn ticks(time: Duration) -> u16 {
    let ticks = time.as_secs().saturating_mul(1000) >> lb_common::flow::TICK;
    ticks.min(i16::MAX as u64) as u16
}

const fn mode_name(mode: XdpAttachMode) -> &'static str {
    match mode {
        XdpAttachMode::Native => "native",
        XdpAttachMode::Generic => "generic",
        XdpAttachMode::Offload => "offload",
    }
}

fn route_of(way: &Way) -> Route {
    let link = Link {
        destination: way.destination,
        source: way.link_source,
    };
    let next = NextHop {
        interface: way.interface,
        mtu: way.mtu,
        link,
    };
    Route {
        source: way.source.into(),
        next,
    }
}

/// Counters that cannot be cleared start too high; nothing depends on them.
fn forgive(result: Result<(), aya::maps::MapError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "counters could not be cleared");
    }
}

fn log(transition: &Transition) {
    let Transition {
        backend,
        from,
        to,
        reason,
    } = transition;
    let name = |state: Option<State>| state.map_or("none", State::name);
    let (from, to) = (name(*from), name(*to));
    if to == State::Down.name() {
        tracing::warn!(%backend, from, to, reason, "backend");
    } else {
        tracing::info!(%backend, from, to, reason, "backend");
    }
}
