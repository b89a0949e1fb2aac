//! What is known goes on: under another configuration, under another name of a service, and in the
//! next life of the daemon.

use std::{collections::BTreeMap, net::IpAddr};

use lb_common::ServiceKey;

use super::{
    BackendView, Control, ControlError, Intents, State, absence::rename_keys, has_registry,
    operator,
};
use crate::{
    config::Config,
    health::{Health, HealthState},
    model::{BackendName, Service, ServiceName},
    source::Snapshot,
};

/// What a service with another name takes over from the one before.
#[derive(Default)]
struct Inherited {
    health: BTreeMap<BackendName, Health>,
    registered: BTreeMap<ServiceName, Snapshot>,
}

impl Control {
    pub(super) fn replace(&mut self, config: Config, intents: Intents) -> Result<(), ControlError> {
        let services = operator::services(&config, &intents)?;
        let serving = self.serving();
        let inherited = self.inherited(&services);
        let former = (
            std::mem::replace(&mut self.services, services),
            std::mem::replace(&mut self.config, config),
            std::mem::replace(&mut self.intents, intents),
            self.registered.clone(),
        );
        self.registered.extend(inherited.registered);
        if let Err(message) = self.check_capacity() {
            (self.services, self.config, self.intents, self.registered) = former;
            return Err(ControlError::Capacity(message));
        }
        let (services_before, ..) = former;
        self.health.extend(inherited.health);
        let by_key: BTreeMap<ServiceKey, &ServiceName> =
            self.services.values().map(|service| (service.key(), &service.name)).collect();
        let renamed = |former: &ServiceName| {
            by_key.get(&services_before.get(former)?.key()).copied().cloned()
        };
        self.absences.rename(renamed);
        self.openings.rename(renamed);
        self.returns.rename(renamed);
        rename_keys(&mut self.states, renamed);
        let joined = std::mem::take(&mut self.joined).into_iter();
        self.joined = joined
            .filter_map(|name| Some(BackendName { service: renamed(&name.service)?, ..name }))
            .collect();
        rename_keys(&mut self.agents, renamed);
        rename_keys(&mut self.advice, renamed);
        rename_services(&mut self.outliers, renamed);
        rename_services(&mut self.history, renamed);
        rename_services(&mut self.turns, renamed);
        rename_services(&mut self.standings, renamed);
        self.forget_strangers();
        self.presume_still_up(&serving);
        Ok(())
    }

    /// Backends that take new flows, or would if others did not come before them, by what packets
    /// know of their service, and since when.
    fn serving(&self) -> BTreeMap<(ServiceKey, IpAddr), u64> {
        let is_ready = |view: &BackendView| {
            view.serving_weight() > 0 || view.effective.state == State::Standby
        };
        let serving = self.views().filter(is_ready);
        let key = |view: &BackendView| self.services[&view.name.service].key();
        serving.map(|view| ((key(&view), view.name.address), view.since)).collect()
    }

    /// What is known of a service goes on under another name, and under a registry that has not
    /// answered yet: that a file names no backends any more is no answer of the registry.
    fn inherited(&self, services: &BTreeMap<ServiceName, Service>) -> Inherited {
        let mut inherited = Inherited::default();
        for (name, service) in services {
            let has_key = |former: &&Service| former.key() == service.key();
            let Some(former) = self.services.values().find(has_key) else { continue };
            if service.source.is_some() && former.source.is_none() {
                let snapshot = Snapshot { backends: former.backends.clone() };
                inherited.registered.insert(name.clone(), snapshot);
            }
            if former.name == *name {
                continue;
            }
            if let Some(snapshot) = self.registered.get(&former.name) {
                inherited.registered.insert(name.clone(), snapshot.clone());
            }
            for (backend, health) in &self.health {
                if backend.service == former.name {
                    let renamed = BackendName { service: name.clone(), address: backend.address };
                    inherited.health.insert(renamed, health.clone());
                }
            }
        }
        inherited
    }

    /// A backend that took new flows and is checked from now on is up until checks say otherwise.
    fn presume_still_up(&mut self, serving: &BTreeMap<(ServiceKey, IpAddr), u64>) {
        for backend in self.generations.keys() {
            let service = &self.services[&backend.service];
            if let Some(since) = serving.get(&(service.key(), backend.address)) {
                let presumed = || Health::presumed_up(*since);
                self.health.entry(backend.clone()).or_insert_with(presumed);
            }
        }
    }

    /// Takes in what registries said to an earlier daemon. Limits may be lower than they were then: of
    /// all registered backends the first stay that fit, which is better than none at all.
    pub(super) fn recall_registered(&mut self, mut answers: BTreeMap<ServiceName, Snapshot>) {
        answers.retain(|service, _| has_registry(&self.services, service));
        let known: usize = answers.values().map(|answer| answer.backends.len()).sum();
        self.registered = answers.clone();
        let Err(error) = self.check_capacity() else { return };
        let lengths: Vec<usize> = (1..=known).collect();
        let kept = lengths.partition_point(|length| {
            self.registered = first(&answers, *length);
            self.check_capacity().is_ok()
        });
        self.registered = first(&answers, kept);
        tracing::warn!(error, known, kept, "not all registered backends fit any more");
    }

    /// Takes in what a registry must have said to an earlier daemon, by what that has left in the
    /// tables. Its backends have their part in these.
    pub fn presume_registered(
        &mut self,
        service: &ServiceName,
        snapshot: Snapshot,
    ) -> Result<(), ControlError> {
        self.register(service, snapshot)?;
        let views = self.services.get(service).map(|service| self.views_of(service));
        self.joined.extend(views.into_iter().flatten().map(|view| view.name));
        Ok(())
    }

    /// A service of which a backend was up when an earlier daemon ended was open.
    pub(super) fn recall_open(&mut self) {
        let up = self.health.iter().filter(|(_, health)| health.state() == HealthState::Up);
        for (backend, _) in up {
            self.openings.presume_open(&backend.service);
        }
    }
}

fn rename_services<T>(
    map: &mut BTreeMap<ServiceName, T>,
    renamed: impl Fn(&ServiceName) -> Option<ServiceName>,
) {
    let renamed = |(name, value): (ServiceName, T)| Some((renamed(&name)?, value));
    *map = std::mem::take(map).into_iter().filter_map(renamed).collect();
}

/// The same answers with no more than so many backends in all.
fn first(
    answers: &BTreeMap<ServiceName, Snapshot>,
    mut room: usize,
) -> BTreeMap<ServiceName, Snapshot> {
    let mut cut = answers.clone();
    for answer in cut.values_mut() {
        answer.backends.truncate(room);
        room -= answer.backends.len();
    }
    cut
}
