//! Taking in what time it is: who is out since when, who is back, and whose turn it is.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    Control, Reach,
    view::{self, Arranged},
};
use crate::{
    health::HealthState,
    model::{BackendName, Recovery, Service},
    outlier::Outliers,
};

impl Control {
    /// Takes in what time it is: since when backends are out or gone follows from that, and what is
    /// over. `now` is in milliseconds of a clock that only goes forward, here and wherever flows are
    /// concerned.
    pub fn note(&mut self, now: u64) {
        self.note_and_arrange(now);
    }

    /// The same; returns the backends of all services, in their order, and how these stand.
    pub(super) fn note_and_arrange(&mut self, now: u64) -> Vec<Arranged> {
        self.now = now;
        let judged: Vec<(&Service, bool)> = self
            .services
            .values()
            .map(|service| (service, view::are_judged(self, service)))
            .collect();
        let mut openings = std::mem::take(&mut self.openings);
        openings.note(judged.into_iter(), now);
        self.openings = openings;
        self.note_outliers();
        self.note_returns();
        let arranged = self.note_turns();
        let views = || arranged.iter().flat_map(|(views, _)| views);
        let room = (self.config.daemon.limits.backends as usize).saturating_sub(views().count());
        self.absences.note(&self.services, views(), room, now);
        let departed = self.absences.kept(&self.services).map(|name| name.address);
        let addresses: BTreeSet<IpAddr> =
            views().map(|view| view.name.address).chain(departed).collect();
        self.reached.retain(|address, _| addresses.contains(address));
        arranged
    }

    /// When [`Control::desired`] will be another, if nothing happens but time passes.
    #[must_use]
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        let flows = self.absences.next_deadline(&self.services, now);
        let outliers = self.outliers.values().filter_map(Outliers::next_deadline);
        let returns = self.returning().flat_map(|service| {
            let names = view::names(self, service).into_iter();
            names.filter_map(|name| self.returns.deadline(&name, &service.recovery, now))
        });
        let all = flows.into_iter().chain(self.openings.next_deadline());
        all.chain(outliers).chain(returns).min()
    }

    /// Services whose backends do not come back at once and with all of their weight.
    fn returning(&self) -> impl Iterator<Item = &Service> {
        self.services.values().filter(|service| service.recovery != Recovery::default())
    }

    fn note_returns(&mut self) {
        let mut returns = std::mem::take(&mut self.returns);
        for service in self.returning() {
            let is_open = self.openings.is_open(&service.name);
            for name in view::names(self, service) {
                let is_new = is_open && !self.joined.contains(&name);
                match self.is_well(service, &name) {
                    Some(true) if is_new && self.is_reached(service, &name) => {
                        returns.welcome(&name, self.now);
                    }
                    Some(true) if is_new => {}
                    Some(is_well) => returns.note(&name, &service.recovery, is_well, self.now),
                    None => {}
                }
            }
        }
        self.returns = returns;
    }

    fn is_reached(&self, service: &Service, name: &BackendName) -> bool {
        self.reach(service.forward, &name.address) == Reach::Known
    }

    /// Whether a backend is well by all that is found out about it; `None` while that is nothing. What
    /// it asks for by itself is no failure.
    fn is_well(&self, service: &Service, name: &BackendName) -> Option<bool> {
        if self.ejected(name).is_some() {
            return Some(false);
        }
        let Some(check) = service.check_of(&name.address) else { return Some(true) };
        let health = self.health.get(name).map(|health| health.presumed(check.initial));
        match health.unwrap_or_default() {
            HealthState::Unknown => None,
            HealthState::Up => Some(true),
            HealthState::Down => Some(false),
        }
    }

    /// Brings up to date whose turn it is. Arranged once more after that everything is the same: who
    /// is ready needs no more to stay so, and who is not needs no less.
    fn note_turns(&mut self) -> Vec<Arranged> {
        let arranged = self.arranged();
        let open = self.services.keys().zip(&arranged);
        let open = open.filter(|(name, _)| self.openings.is_open(name));
        let turns = open.map(|(name, (_, standing))| (name.clone(), standing.ready.clone()));
        self.turns = turns.collect();
        arranged
    }

    /// The backends of all services, in their order, and how these stand.
    pub(super) fn arranged(&self) -> Vec<Arranged> {
        self.services.values().map(|service| view::arranged(self, service)).collect()
    }
}
