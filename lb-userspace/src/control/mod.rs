//! The control core: configuration, registries, operators and health in, desired tables out.
//!
//! Pure: no socket, no clock, no file. Whoever holds a [`Control`] tells it what happened and then
//! asks what follows.

mod absence;
mod error;
mod intents;
mod openings;
mod operator;
mod policy;
mod preview;
mod priority;
mod state;
mod succession;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::{Address, Forward};

pub use absence::Fate;
pub use error::ControlError;
pub use intents::{Intent, Intents, Membership, Mode};
pub use operator::Command;
pub use state::{Effective, Reach, State};
pub use view::{BackendView, Origin};

use absence::{Absences, Trace};
use openings::Openings;

use crate::{
    config::{Config, check_service_limits},
    datapath::desired::{DesiredMember, DesiredService},
    health::{CheckResult, Health, Target},
    model::{BackendName, BackendRule, Ports, Service, ServiceName, SourceConfig},
    netlink::Via,
    source::Snapshot,
};

/// All inputs, and what follows from them.
#[derive(Clone, Debug)]
pub struct Control {
    config: Config,
    intents: Intents,
    /// Services in force: configured ones that nobody removed, and added ones.
    services: BTreeMap<ServiceName, Service>,
    registered: BTreeMap<ServiceName, Snapshot>,
    health: BTreeMap<BackendName, Health>,
    /// Which life of a backend a check belongs to.
    generations: BTreeMap<BackendName, u64>,
    next_generation: u64,
    states: BTreeMap<BackendName, Noted>,
    /// Addresses whose way has been known, and who took their packets at last.
    reached: BTreeMap<IpAddr, Via>,
    /// Backends that have a part in the tables' base: all but those that are new and not judged yet.
    joined: BTreeSet<BackendName>,
    absences: Absences,
    openings: Openings,
}

/// The state that was last reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    state: State,
    since: u64,
    changes: u64,
}

/// A change of a backend's effective state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which backend.
    pub backend: BackendName,
    /// Its state before; `None` for a backend that is new.
    pub from: Option<State>,
    /// Its state now; `None` for a backend that is gone.
    pub to: Option<State>,
    /// Why.
    pub reason: String,
}

/// What a daemon remembers of its former life.
#[derive(Debug, Default)]
pub struct Memory {
    /// What operators said.
    pub intents: Intents,
    /// The judgement on each backend.
    pub health: BTreeMap<BackendName, Health>,
    /// The last good answer of each registry.
    pub registered: BTreeMap<ServiceName, Snapshot>,
}

impl Control {
    /// Begins with a configuration and what is remembered. Of what registries said as much is kept
    /// as fits.
    pub fn new(config: Config, memory: Memory) -> Result<Self, ControlError> {
        let services = operator::services(&config, &memory.intents)?;
        let mut control = Self {
            config,
            intents: memory.intents,
            services,
            registered: BTreeMap::new(),
            health: memory.health,
            generations: BTreeMap::new(),
            next_generation: 1,
            states: BTreeMap::new(),
            reached: BTreeMap::new(),
            joined: BTreeSet::new(),
            absences: Absences::default(),
            openings: Openings::default(),
        };
        control.check_capacity().map_err(ControlError::Capacity)?;
        control.recall_registered(memory.registered);
        control.joined = control.views().map(|view| view.name).collect();
        control.forget_strangers();
        control.recall_open();
        Ok(control)
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What operators have said.
    #[must_use]
    pub const fn intents(&self) -> &Intents {
        &self.intents
    }

    /// The judgement on each backend.
    #[must_use]
    pub const fn health(&self) -> &BTreeMap<BackendName, Health> {
        &self.health
    }

    /// The services in force by name.
    #[must_use]
    pub const fn services(&self) -> &BTreeMap<ServiceName, Service> {
        &self.services
    }

    /// Takes over another configuration.
    pub fn reload(&mut self, config: Config) -> Result<(), ControlError> {
        operator::check_fixed(&self.config.daemon, &config.daemon)?;
        let mut intents = self.intents.clone();
        let configured: BTreeSet<&ServiceName> =
            config.services.iter().map(|service| &service.name).collect();
        // What was removed and is not configured any more need not be remembered.
        intents.removed_services.retain(|name| configured.contains(name));
        self.replace(config, intents)
    }

    /// Carries out what an operator asks for.
    pub fn operate(&mut self, command: Command) -> Result<(), ControlError> {
        let intents = operator::carry_out(self, command)?;
        self.replace(self.config.clone(), intents)
    }

    fn check_capacity(&self) -> Result<(), String> {
        let services: Vec<Service> = self
            .services
            .values()
            .map(|service| Service { backends: view::members(self, service), ..service.clone() })
            .collect();
        check_service_limits(&services, &self.config.daemon.limits)
    }

    /// Takes in a registry's answer, unless there is no room for it.
    pub fn register(
        &mut self,
        service: &ServiceName,
        snapshot: Snapshot,
    ) -> Result<(), ControlError> {
        let before = self.registered.insert(service.clone(), snapshot);
        if let Err(message) = self.check_capacity() {
            match before {
                Some(before) => self.registered.insert(service.clone(), before),
                None => self.registered.remove(service),
            };
            return Err(ControlError::Capacity(message));
        }
        self.forget_strangers();
        Ok(())
    }

    /// Takes in the end of a check; `now` is in milliseconds since 1970. True if it changes the
    /// judgement. A result that belongs to a backend's former life counts for nothing.
    pub fn judge(&mut self, result: &CheckResult, now: u64) -> bool {
        if self.generations.get(&result.backend) != Some(&result.generation) {
            return false;
        }
        let service = self.services.get(&result.backend.service);
        let Some(check) = service.and_then(|service| service.health_check) else {
            return false;
        };
        let health = self.health.entry(result.backend.clone()).or_default();
        health.record(&result.outcome, &check, now).is_some()
    }

    /// Takes in that packets knew a service before the daemon began: it waits for nobody.
    pub fn presume_open(&mut self, service: &ServiceName) {
        self.openings.presume_open(service);
    }

    /// Takes in that a backend took new flows before the daemon began, if nothing is known of it.
    pub fn presume_up(&mut self, backend: &BackendName, now: u64) {
        self.presume_open(&backend.service);
        if self.generations.contains_key(backend) {
            self.health.entry(backend.clone()).or_insert_with(|| Health::presumed_up(now));
        }
    }

    /// Takes in that the way to an address is known. True if it was not before, or another one.
    pub fn reached(&mut self, address: IpAddr, via: Via) -> bool {
        self.reached.insert(address, via) != Some(via)
    }

    fn reach(&self, forward: Forward, address: &IpAddr) -> Reach {
        match self.reached.get(address).map(|via| via.carries(forward)) {
            Some(Ok(())) => Reach::Known,
            Some(Err(fault)) => Reach::Barred(fault.to_string()),
            None => Reach::Unknown,
        }
    }

    /// What the last answers of registries were.
    #[must_use]
    pub const fn registered(&self) -> &BTreeMap<ServiceName, Snapshot> {
        &self.registered
    }

    /// Addresses of all backends, those included that were removed and keep their flows.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        let departed = self.absences.kept(&self.services).map(|name| name.address);
        self.views().map(|view| view.name.address).chain(departed).collect()
    }

    /// Takes in what time it is: since when backends are out or gone follows from that. `now` is in
    /// milliseconds of a clock that only goes forward, here and wherever flows are concerned.
    pub fn note(&mut self, now: u64) {
        let judged: Vec<(&Service, bool)> = self
            .services
            .values()
            .map(|service| (service, view::are_judged(self, service)))
            .collect();
        let mut openings = std::mem::take(&mut self.openings);
        openings.note(judged.into_iter(), now);
        self.openings = openings;
        let views: Vec<BackendView> = self.views().collect();
        let room = (self.config.daemon.limits.backends as usize).saturating_sub(views.len());
        self.absences.note(&self.services, &views, room, now);
        let addresses = self.addresses();
        self.reached.retain(|address, _| addresses.contains(address));
    }

    /// When [`Control::desired`] will be another, if nothing happens but time passes.
    #[must_use]
    pub fn next_deadline(&self, now: u64) -> Option<u64> {
        let flows = self.absences.next_deadline(&self.services, now);
        flows.into_iter().chain(self.openings.next_deadline()).min()
    }

    /// What becomes of the flows that a backend has.
    #[must_use]
    pub fn fate(&self, view: &BackendView, now: u64) -> Fate {
        self.absences.fate(&self.services[&view.name.service], view, now)
    }

    /// Backends that a service does not name any more, with what becomes of their flows.
    pub fn departed<'a>(
        &'a self,
        service: &'a Service,
        now: u64,
    ) -> impl Iterator<Item = (IpAddr, Fate)> + 'a {
        self.absences.departed(service, now).map(|(name, _, fate)| (name.address, fate))
    }

    /// Takes in a backend that an earlier daemon knew. If nobody names it any more, it has left now.
    /// `port` is its own, 0 the one that clients reach.
    pub fn presume_departed(&mut self, name: BackendName, port: u16, now: u64) {
        let is_named = self.services.get(&name.service).is_none_or(|service| {
            view::members(self, service).iter().any(|backend| backend.address == name.address)
        });
        if !is_named {
            self.absences.presume(name, Trace { port, server_id: None }, now);
        }
    }

    /// Gives up those backends that were removed which left first: half of them, and one at least,
    /// to make room. False if there were none.
    pub fn forget_departed(&mut self) -> bool {
        self.absences.forget_departed()
    }

    /// Forgets what is known of backends that are gone or not checked, and numbers new lives. One
    /// that leaves maintenance begins a new life: nobody has checked it meanwhile.
    fn forget_strangers(&mut self) {
        let mut checked = BTreeSet::new();
        let mut in_maintenance = BTreeSet::new();
        for view in self.views() {
            if self.services[&view.name.service].health_check.is_none() {
                continue;
            }
            match view.intent.mode {
                Mode::Maint => in_maintenance.insert(view.name),
                Mode::Ready | Mode::Drain => checked.insert(view.name),
            };
        }
        self.generations.retain(|backend, _| checked.contains(backend));
        self.health.retain(|backend, health| {
            let is_out = in_maintenance.contains(backend);
            if is_out {
                *health = Health::default();
            }
            is_out || checked.contains(backend)
        });
        for backend in checked {
            let next = &mut self.next_generation;
            self.generations.entry(backend).or_insert_with(|| {
                *next += 1;
                *next
            });
        }
        self.registered.retain(|service, _| has_registry(&self.services, service));
    }

    /// Every backend of every service.
    pub fn views(&self) -> impl Iterator<Item = BackendView> + '_ {
        self.services.values().flat_map(|service| view::backends(self, service))
    }

    /// The backends of one service.
    #[must_use]
    pub fn views_of(&self, service: &Service) -> Vec<BackendView> {
        view::backends(self, service)
    }

    /// What the kernel's tables are to say at a time that [`Control::note`] was told.
    #[must_use]
    pub fn desired(&self, now: u64) -> Vec<DesiredService> {
        self.services.values().map(|service| self.desired_service(service, now)).collect()
    }

    fn desired_service(&self, service: &Service, now: u64) -> DesiredService {
        let member = |view: BackendView| DesiredMember {
            address: Address::from(view.name.address),
            port: service.port_of(&view.name.address),
            base_weight: if self.has_joined(&view) { u32::from(view.configured_weight) } else { 0 },
            weight: u32::from(view.serving_weight()),
            flows: self.absences.fate(service, &view, now).flows,
        };
        // Of a backend that was removed only the flows that it has are left.
        let former = |(name, trace, fate): (&BackendName, Trace, Fate)| DesiredMember {
            address: Address::from(name.address),
            port: trace.port,
            base_weight: 0,
            weight: 0,
            flows: fate.flows,
        };
        // Translation does not turn one family into the other, whoever names such a backend.
        let is_reachable = |member: &DesiredMember| {
            service.forward != Forward::Nat || member.address.is_ipv6() == service.key().is_ipv6()
        };
        let members = view::backends(self, service).into_iter().map(member);
        let departed = || self.absences.departed(service, now);
        let members = members.chain(departed().map(former)).filter(is_reachable).collect();
        let mut policy = policy::desired(service, &self.config.daemon);
        policy::keep_servers(
            &mut policy.udp,
            departed().map(|(name, trace, _)| (name.address, trace.server_id)),
        );
        DesiredService {
            last_port: service.ports.last_of_range().unwrap_or_default(),
            table_slots: service.table_slots,
            policy,
            ping: service.policy.ping.map(policy::ping),
            ..DesiredService::plain(service.key(), service.forward, members)
        }
    }

    /// Whether a backend has a part in the base. One that is new joins when it is first judged, for
    /// the moment before as if it were not there yet: joining twice, first without slots, would move
    /// twice what must move. From then on it has its part whatever its state is: whether it has ever
    /// been up is history, which another load balancer of the group does not share, and its table
    /// must be the same.
    fn has_joined(&self, view: &BackendView) -> bool {
        view.effective.state != State::Starting || self.joined.contains(&view.name)
    }

    /// What is to be checked. Backends in maintenance are not.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.views()
            .filter(|view| view.effective.state != State::Maint)
            .filter_map(|view| {
                let service = &self.services[&view.name.service];
                let mut check = service.health_check?;
                let port = service.port_of(&view.name.address);
                if port != 0 && service.ports == Ports::Exact(check.port) {
                    check.port = port;
                }
                let generation = *self.generations.get(&view.name)?;
                Some(Target { backend: view.name, generation, check })
            })
            .collect()
    }

    /// Which registries are to be followed.
    #[must_use]
    pub fn sources(&self) -> Vec<(ServiceName, BackendRule, SourceConfig)> {
        self.services
            .values()
            .filter_map(|service| {
                Some((service.name.clone(), service.backend_rule(), service.source.clone()?))
            })
            .collect()
    }

    /// What has changed in effective states since the last call; `now` is in milliseconds since
    /// 1970.
    pub fn transitions(&mut self, now: u64) -> Vec<Transition> {
        let views: Vec<BackendView> = self.views().collect();
        let mut transitions = Vec::new();
        let mut states = BTreeMap::new();
        let joined = views.iter().filter(|view| self.has_joined(view));
        self.joined = joined.map(|view| view.name.clone()).collect();
        for view in views {
            let before = self.states.remove(&view.name);
            let state = view.effective.state;
            let noted = match before {
                Some(noted) if noted.state == state => noted,
                _ => {
                    transitions.push(Transition {
                        backend: view.name.clone(),
                        from: before.map(|noted| noted.state),
                        to: Some(state),
                        reason: view.effective.reason,
                    });
                    let changes = before.map_or(0, |noted| noted.changes + 1);
                    Noted { state, since: now, changes }
                }
            };
            states.insert(view.name, noted);
        }
        for (backend, noted) in std::mem::replace(&mut self.states, states) {
            let reason = "removed".to_owned();
            transitions.push(Transition { backend, from: Some(noted.state), to: None, reason });
        }
        transitions
    }
}

fn has_registry(services: &BTreeMap<ServiceName, Service>, name: &ServiceName) -> bool {
    services.get(name).is_some_and(|service| service.source.is_some())
}

#[cfg(test)]
mod tests;
