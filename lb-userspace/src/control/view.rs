//! A backend with all that is known of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{
    Control, Effective, Intent, Membership, Noted, State, openings,
    quorum::{self, Standing},
    state::Inputs,
};
use crate::{
    health::{AgentWord, Health},
    model::{Backend, BackendName, InitialState, LastResort, Priority, Quorum, Service, Weight},
};

/// Where a backend comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration.
    Config,
    /// A registry.
    Registry,
    /// An operator.
    Operator,
}

/// A backend with all that is known of it.
#[derive(Clone, Debug)]
pub struct BackendView {
    /// Its name.
    pub name: BackendName,
    /// Where it comes from; of several, the first of configuration, registry and operator.
    pub origin: Origin,
    /// Weight as given there.
    pub configured_weight: Weight,
    /// When its turn comes; as given there.
    pub priority: Priority,
    /// What operators have said of it.
    pub intent: Intent,
    /// What checks have said of it; `None` where it is not checked.
    pub health: Option<Health>,
    /// What its agent asks for; `None` before it has said anything.
    pub agent: Option<AgentWord>,
    /// What follows from that.
    pub effective: Effective,
    /// Since when, in milliseconds since 1970; 0 before the first report.
    pub since: u64,
    /// How often its state has changed since the daemon began.
    pub changes: u64,
}

impl BackendView {
    /// Weight among the backends that take new flows: 0 if it is none of them.
    #[must_use]
    pub const fn serving_weight(&self) -> Weight {
        if self.effective.state.takes_flows() { self.effective.weight } else { 0 }
    }
}

/// The backends of a service, in the order of their addresses.
pub(super) fn backends(control: &Control, service: &Service) -> Vec<BackendView> {
    arranged(control, service).0
}

/// The backends of a service, and how it stands.
pub(super) type Arranged = (Vec<BackendView>, Standing);

/// The same, and how the service stands.
pub(super) fn arranged(control: &Control, service: &Service) -> Arranged {
    let mut views = judged(control, service);
    let mut rules = service.quorum;
    if control.openings.is_waiting(&service.name) {
        openings::wait(&mut views);
        // That too few are well is not known before all are judged.
        rules = Quorum { panic_threshold: 0, last_resort: LastResort::None, ..rules };
    }
    let before = control.turns.get(&service.name);
    let standing = quorum::arrange(&mut views, &rules, before);
    (views, standing)
}

/// The same, each for itself.
fn judged(control: &Control, service: &Service) -> Vec<BackendView> {
    merged(control, service)
        .into_values()
        .map(|(origin, backend)| view(control, service, origin, &backend))
        .collect()
}

/// Whether all backends of a service are more than starting. Who they are is not known where only a
/// registry can tell and has named none.
pub(super) fn are_judged(control: &Control, service: &Service) -> bool {
    let views = judged(control, service);
    let are_known = !views.is_empty() || service.source.is_none();
    are_known && views.iter().all(|view| view.effective.state != State::Starting)
}

/// The backends of a service as they are given, not as operators have changed them.
pub(super) fn members(control: &Control, service: &Service) -> Vec<Backend> {
    let backend = |(_, backend): (Origin, Backend)| Backend {
        port: service.port_of(&backend.address),
        ..backend
    };
    merged(control, service).into_values().map(backend).collect()
}

/// The names of a service's backends.
pub(super) fn names(control: &Control, service: &Service) -> Vec<BackendName> {
    let name = |address| BackendName { service: service.name.clone(), address };
    merged(control, service).into_keys().map(name).collect()
}

/// All inputs that name backends, each address once: the configuration wins over the registry, and
/// that over what operators added; what they removed is out, and so is what the service cannot have
/// since it was changed.
fn merged(control: &Control, service: &Service) -> BTreeMap<IpAddr, (Origin, Backend)> {
    let mut members = BTreeMap::new();
    for (backend, intent) in &control.intents.backends {
        if let Membership::Added(weight) = intent.membership
            && backend.service == service.name
        {
            let (address, priority) = (backend.address, intent.priority);
            let added = Backend { address, weight, port: 0, priority };
            members.insert(address, (Origin::Operator, added));
        }
    }
    if let Some(snapshot) = control.registered.get(&service.name) {
        for backend in &snapshot.backends {
            members.insert(backend.address, (Origin::Registry, *backend));
        }
    }
    for backend in &service.backends {
        members.insert(backend.address, (Origin::Config, *backend));
    }
    members.retain(|address, _| {
        let name = BackendName { service: service.name.clone(), address: *address };
        service.backend_rule().check(*address).is_ok()
            && control.intents.of(&name).membership != Membership::Removed
    });
    members
}

fn view(control: &Control, service: &Service, origin: Origin, backend: &Backend) -> BackendView {
    let Backend { address, weight, priority, .. } = *backend;
    let name = BackendName { service: service.name.clone(), address };
    let intent = control.intents.of(&name);
    let check = service.check_of(&address);
    let health = check.map(|_| control.health.get(&name).cloned().unwrap_or_default());
    let agent = control.agents.get(&name);
    let (recovery, now) = (&service.recovery, control.now);
    let share = control.returns.share(&name, recovery, now);
    let effective = Effective::derive(Inputs {
        configured: weight,
        intent,
        health: health.as_ref(),
        initial: check.map_or(InitialState::FirstCheck, |check| check.initial),
        advice: control.advice.get(&name).copied(),
        agent,
        reach: control.reach(service.forward, &address),
        ejected: control.ejected(&name),
        held: control.returns.held(&name, recovery, now),
        shares: share.into_iter().chain(control.drift(&name)).collect(),
    });
    let noted = control.states.get(&name).copied();
    let Noted { since, changes, .. } =
        noted.unwrap_or(Noted { state: effective.state, since: 0, changes: 0 });
    BackendView {
        origin,
        configured_weight: weight,
        priority,
        intent,
        health,
        agent: agent.cloned(),
        effective,
        since,
        changes,
        name,
    }
}
