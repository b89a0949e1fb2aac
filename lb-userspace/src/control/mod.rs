//! The control core: configuration, registries, operators and health in, desired tables out.
//!
//! Pure: no socket, no clock, no file. Whoever holds a [`Control`] tells it what happened and then
//! asks what follows.

mod absence;
mod changes;
mod desired;
mod error;
mod intents;
mod judge;
mod lives;
mod moment;
mod note;
mod openings;
mod operator;
mod passive;
mod policy;
mod preview;
mod quorum;
mod returns;
mod state;
mod step;
mod succession;
mod targets;
mod uplink;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::Forward;
use serde::{Deserialize, Serialize};

pub use absence::Fate;
pub use error::ControlError;
pub use intents::{Intent, Intents, Membership, Mode};
pub use judge::{Input, Urgency};
pub use moment::Moment;
pub use operator::Command;
pub use passive::Observations;
pub use quorum::Standing;
pub use state::{Effective, Reach, State};
pub use step::Step;
pub use view::{BackendView, Origin};

use absence::{Absences, Trace};
use changes::{Noted, NotedService};
use openings::Openings;
use quorum::Turns;
use returns::Returns;
use uplink::Uplink;

use crate::{
    config::{Config, check_service_limits},
    event::Event,
    health::{AgentWord, Health, WeightAdvice},
    model::{BackendName, BackendRule, Service, ServiceName, SourceConfig},
    netlink::Via,
    outlier::{Outliers, learned::History},
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
    /// Weights that checks asked for.
    advice: BTreeMap<BackendName, WeightAdvice>,
    /// What agents asked for.
    agents: BTreeMap<BackendName, AgentWord>,
    /// What traffic shows, of services that ask.
    outliers: BTreeMap<ServiceName, Outliers>,
    /// What an earlier daemon learned, until somebody asks for it.
    history: BTreeMap<ServiceName, History>,
    returns: Returns,
    turns: Turns,
    uplink: Uplink,
    /// Whether it was told that nobody answers.
    told_cut_off: bool,
    /// What time it is, in milliseconds of a clock that only goes forward.
    now: u64,
    states: BTreeMap<BackendName, Noted>,
    standings: BTreeMap<ServiceName, NotedService>,
    /// What happened and was not told yet.
    untold: Vec<Event>,
    /// Addresses whose way has been known, and who took their packets at last.
    reached: BTreeMap<IpAddr, Via>,
    /// Backends that have a part in the tables' base: all but those that are new and not judged yet.
    joined: BTreeSet<BackendName>,
    absences: Absences,
    openings: Openings,
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
    /// What backends asked for.
    pub asked: Asked,
    /// What is usual for the backends of each service at which hour, where that is learned.
    pub history: BTreeMap<ServiceName, History>,
}

/// What backends have asked for by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// What agents said last.
    pub agents: BTreeMap<BackendName, AgentWord>,
    /// Weights that checks asked for.
    pub weights: BTreeMap<BackendName, WeightAdvice>,
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
            advice: memory.asked.weights,
            agents: memory.asked.agents,
            outliers: BTreeMap::new(),
            history: memory.history,
            returns: Returns::default(),
            turns: Turns::default(),
            uplink: Uplink::default(),
            told_cut_off: false,
            now: 0,
            states: BTreeMap::new(),
            standings: BTreeMap::new(),
            untold: Vec::new(),
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

    /// What backends have asked for.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked { agents: self.agents.clone(), weights: self.advice.clone() }
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

    /// Takes in that packets knew a service before the daemon began: it waits for nobody.
    pub fn presume_open(&mut self, service: &ServiceName) {
        self.openings.presume_open(service);
    }

    /// Takes in that a backend took new flows before the daemon began, if nothing is known of it.
    pub fn presume_up(&mut self, backend: &BackendName, now: u64) {
        self.presume_open(&backend.service);
        if self.generations.contains_key(backend) {
            self.health.entry(backend.clone()).or_insert_with(|| Health::presumed_up(now));
            self.came_up();
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

    /// Every backend of every service.
    pub fn views(&self) -> impl Iterator<Item = BackendView> + '_ {
        self.services.values().flat_map(|service| view::backends(self, service))
    }

    /// The backends of one service.
    #[must_use]
    pub fn views_of(&self, service: &Service) -> Vec<BackendView> {
        view::backends(self, service)
    }

    /// The names of a service's backends: cheap, without a word on any of them.
    #[must_use]
    pub fn backend_names(&self, service: &Service) -> Vec<BackendName> {
        view::names(self, service)
    }

    /// Whether a service has waited for its backends long enough.
    #[must_use]
    pub fn is_open(&self, service: &ServiceName) -> bool {
        self.openings.is_open(service)
    }

    /// The backends of one service, and how it stands.
    #[must_use]
    pub fn views_and_standing(&self, service: &Service) -> (Vec<BackendView>, Standing) {
        view::arranged(self, service)
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
}

fn has_registry(services: &BTreeMap<ServiceName, Service>, name: &ServiceName) -> bool {
    services.get(name).is_some_and(|service| service.source.is_some())
}

#[cfg(test)]
mod tests;
