//! From what the control core wants to what the world does.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use lb_common::{Address, Forward, Link, NextHop};

use super::{
    Daemon,
    memory::{MemoryError, StateDir},
    now,
};
use crate::{
    control::{Control, Moment},
    datapath::{
        desired::{CommitError, DesiredService, Route},
        tables::{self, Epoch},
    },
    netlink::{Fault, Way},
};

impl Daemon {
    /// Makes tables, checks and watches as the control core wants them.
    pub(super) fn apply(&mut self) {
        self.apply_at = None;
        let at = self.moment();
        let step = self.control.step(at);
        let addresses = self.control.addresses();
        self.ways.retain(|address, _| addresses.contains(address));
        self.neighbours.watch(addresses);
        match self.try_commit(step.desired, at.clock) {
            Ok(()) => self.commit_problem = None,
            Err(error) => {
                tracing::error!(%error, "the tables could not be changed; the old ones serve");
                self.commit_problem = Some(error.to_string());
            }
        }
        let targets = self.control.targets();
        self.tend_check_path(&targets);
        self.checker.reconcile(targets);
        self.checker.reconcile_agents(self.control.agent_targets());
        self.sources.reconcile(self.control.sources());
        self.kept.ask_again();
        if !step.events.is_empty() {
            self.remember("health", |state, control| state.set_health(control.health()));
            let control = &self.control;
            self.checks.retain(|backend, _| control.health().contains_key(backend));
            self.check_log.retain(|backend| control.health().contains_key(backend));
            self.agents.retain(|backend| control.generation(backend).is_some());
        }
        let followed = self.control.sources();
        self.registries.retain(|name, _| followed.iter().any(|(service, ..)| service == name));
        self.publish_readiness();
        self.warn_of_own_addresses();
        step.events.iter().for_each(|event| self.note_ejection(event));
        step.events.into_iter().for_each(|event| self.tell(event));
        // Of the time that the tables were made for: what has come due meanwhile must not be missed.
        self.next_step_at =
            step.next.and_then(|next| self.started.checked_add(Duration::from_millis(next)));
    }

    /// What time it is.
    pub(super) fn moment(&self) -> Moment {
        Moment { clock: self.clock(), wall: now() }
    }

    /// Milliseconds since the daemon began: what flows are timed by, since the time of day may jump.
    pub(super) fn clock(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Makes the tables say what the control core wants at a time that it has noted. Backends that
    /// were removed give way to those that are there, no more of them than must.
    pub(super) fn try_commit(
        &mut self,
        mut desired: Vec<DesiredService>,
        now: u64,
    ) -> Result<(), CommitError> {
        loop {
            let result = self.commit(&desired);
            let is_full =
                matches!(result, Err(CommitError::BackendsFull | CommitError::SlotsFull { .. }));
            if !(is_full && self.control.forget_departed()) {
                return result;
            }
            desired = self.control.desired(now);
        }
    }

    fn commit(&mut self, desired: &[DesiredService]) -> Result<(), CommitError> {
        let ways = &self.ways;
        let route = |forward, address: &Address| {
            let way = ways.get(&IpAddr::from(*address))?.as_ref().ok()?;
            route_of(way, forward)
        };
        let committed = self.datapath.tables.commit(desired, route);
        for id in &committed.new_services {
            forgive(self.datapath.counters.clear_service(*id));
        }
        for index in &committed.new_backends {
            forgive(self.datapath.counters.clear_backend(*index));
        }
        let disputed = self.datapath.tables.disputed();
        for key in committed.tables.iter().filter(|key| disputed.contains(key)) {
            self.disputes.insert(*key, Instant::now());
        }
        if !committed.tables.is_empty() {
            self.work.rebuilds += committed.tables.len() as u64;
            self.work.moved_slots += u64::from(committed.moved_slots);
            let tables = committed.tables.len();
            tracing::debug!(tables, moved_slots = committed.moved_slots, "new tables are in force");
        }
        self.reclaim();
        committed.all().map(drop)
    }

    /// Gives back what packets do not read any more, after a grace period in another thread.
    fn reclaim(&mut self) {
        if self.reclaiming {
            return;
        }
        let Some(epoch) = self.datapath.tables.begin_grace() else { return };
        self.reclaiming = true;
        let reclaims = self.reclaims.clone();
        tokio::task::spawn_blocking(move || {
            tables::synchronize();
            // The daemon may be gone.
            let _ = reclaims.blocking_send(epoch);
        });
    }

    pub(super) fn take_reclaim(&mut self, epoch: Epoch) {
        self.datapath.tables.reclaim(epoch);
        self.reclaiming = false;
        self.reclaim();
    }

    /// Takes in the way to an address. True if the control core must be asked anew.
    pub(super) fn take_way(&mut self, address: IpAddr, way: Result<Way, Fault>) -> bool {
        match &way {
            Ok(way) => {
                tracing::debug!(%address, interface = way.interface_name, "next hop known");
                let route = |forward| route_of(way, forward);
                self.datapath.tables.reroute(&address.into(), route);
            }
            Err(fault @ Fault::Unreadable(_)) => {
                tracing::warn!(%address, %fault, "the way stays as it was");
                self.ways.entry(address).or_insert(way);
                return false;
            }
            Err(fault) => {
                tracing::warn!(%address, %fault, "no next hop");
                self.datapath.tables.reroute(&address.into(), |_| None);
            }
        }
        let is_news = way.as_ref().is_ok_and(|way| self.control.reached(address, way.via));
        self.ways.insert(address, way);
        is_news
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
}

/// What a way comes to for packets that are forwarded like this: nothing, if it is of no use.
fn route_of(way: &Way, forward: Forward) -> Option<Route> {
    way.via.carries(forward).ok()?;
    let link = Link { destination: way.destination, source: way.link_source };
    let next =
        NextHop { interface: way.interface, mtu: way.mtu, vlan: way.vlan.unwrap_or(0), link };
    Some(Route { source: way.source.into(), next })
}

/// Counters that cannot be cleared start too high; nothing depends on them.
fn forgive(result: Result<(), aya::maps::MapError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "counters could not be cleared");
    }
}
