//! What operators may ask for, and what it does to their intents.

use std::collections::BTreeMap;

use super::{Control, ControlError, Intent, Intents, Membership, Memory, Mode};
use crate::{
    config::{self, Clash, Config, Daemon, Together},
    model::{Backend, BackendName, Priority, Service, ServiceName, Weight},
};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new service, as text of the configuration.
    AddService(String),
    /// A service less.
    RemoveService(ServiceName),
    /// All that operators said of a service and its backends is forgotten.
    ResetService(ServiceName),
    /// A new backend.
    AddBackend(BackendName, Weight, Priority),
    /// A backend less.
    RemoveBackend(BackendName),
    /// Whether a backend may take traffic.
    SetMode(BackendName, Mode),
    /// A weight in place of the configured one; `None` goes back to that.
    SetWeight(BackendName, Option<Weight>),
}

/// What an operator asks for can be judged before anything changes, so that it can be written down
/// first.
impl Control {
    /// The intents that carry out what an operator asks for. [`Control::adopt`] takes them over.
    pub fn plan(&self, command: Command) -> Result<Intents, ControlError> {
        let intents = carry_out(self, command)?;
        self.try_out(self.config.clone(), intents.clone())?;
        Ok(intents)
    }

    /// Takes over other intents.
    pub fn adopt(&mut self, intents: Intents) -> Result<(), ControlError> {
        self.replace(self.config.clone(), intents)
    }

    /// Whether [`Control::reload`] would take over a configuration.
    pub fn check_reload(&self, config: &Config) -> Result<(), ControlError> {
        check_fixed(&self.config.daemon, &config.daemon)?;
        self.try_out(config.clone(), self.intents.clone())
    }

    /// Whether all of it fits together, and into the tables.
    fn try_out(&self, config: Config, intents: Intents) -> Result<(), ControlError> {
        let mut draft = Self::new(config, Memory { intents, ..Memory::default() })?;
        draft.registered = self.registered.clone();
        draft.forget_strangers();
        draft.check_capacity().map_err(ControlError::Capacity)
    }
}

/// The intents once `command` is carried out.
pub(super) fn carry_out(control: &Control, command: Command) -> Result<Intents, ControlError> {
    let mut intents = control.intents.clone();
    match command {
        Command::AddService(text) => add_service(control, &mut intents, text)?,
        Command::RemoveService(name) => remove_service(control, &mut intents, name)?,
        Command::ResetService(name) => reset_service(&mut intents, name)?,
        Command::AddBackend(name, weight, priority) => {
            let membership = Membership::Added(weight);
            let intent = Intent { membership, priority, ..Intent::default() };
            add_backend(control, &mut intents, &name, intent)?;
        }
        Command::RemoveBackend(name) => remove_backend(control, &mut intents, &name)?,
        Command::SetMode(name, mode) => {
            require(control, &name)?;
            intents.change(&name, |intent| intent.mode = mode);
        }
        Command::SetWeight(name, weight) => {
            require(control, &name)?;
            intents.change(&name, |intent| intent.weight = weight);
        }
    }
    Ok(intents)
}

fn add_service(control: &Control, intents: &mut Intents, text: String) -> Result<(), ControlError> {
    let service = config::parse_service("the new service", &text)?;
    if control.services.contains_key(&service.name) {
        return Err(ControlError::ServiceExists(service.name));
    }
    let mut together = Together::default();
    for other in control.services.values() {
        // They fit together: they are in force.
        let _ = together.add(other);
    }
    together.add(&service).map_err(|clash| refused(&service, clash))?;
    intents.removed_services.remove(&service.name);
    intents.forget_backends(&service.name);
    // A configured service that was removed comes back as the operator describes it now.
    intents.added_services.insert(service.name, text);
    Ok(())
}

fn reset_service(intents: &mut Intents, name: ServiceName) -> Result<(), ControlError> {
    let before = intents.clone();
    intents.added_services.remove(&name);
    intents.removed_services.remove(&name);
    intents.forget_backends(&name);
    if *intents == before { Err(ControlError::NothingSaid(name)) } else { Ok(()) }
}

fn remove_service(
    control: &Control,
    intents: &mut Intents,
    name: ServiceName,
) -> Result<(), ControlError> {
    if !control.services.contains_key(&name) {
        return Err(ControlError::NoService(name));
    }
    intents.forget_backends(&name);
    intents.added_services.remove(&name);
    if control.config.services.iter().any(|service| service.name == name) {
        intents.removed_services.insert(name);
    }
    Ok(())
}

fn add_backend(
    control: &Control,
    intents: &mut Intents,
    name: &BackendName,
    intent: Intent,
) -> Result<(), ControlError> {
    let service = control
        .services
        .get(&name.service)
        .ok_or_else(|| ControlError::NoService(name.service.clone()))?;
    if find(control, name).is_some() {
        return Err(ControlError::BackendExists(name.clone()));
    }
    service
        .backend_rule()
        .check(name.address)
        .map_err(|error| ControlError::BadBackend(name.clone(), error))?;
    // What was said of a backend of this name before it was removed is over.
    intents.change(name, |before| *before = intent);
    Ok(())
}

fn remove_backend(
    control: &Control,
    intents: &mut Intents,
    name: &BackendName,
) -> Result<(), ControlError> {
    require(control, name)?;
    let membership = match intents.of(name).membership {
        // Nobody else names it, or it would not have been added.
        Membership::Added(_) if !is_named_elsewhere(control, name) => Membership::AsConfigured,
        _ => Membership::Removed,
    };
    intents.change(name, |intent| *intent = Intent { membership, ..Intent::default() });
    Ok(())
}

fn is_named_elsewhere(control: &Control, name: &BackendName) -> bool {
    let has = |backends: &[Backend]| backends.iter().any(|other| other.address == name.address);
    let service = control.services.get(&name.service);
    let snapshot = control.registered.get(&name.service);
    service.is_some_and(|service| has(&service.backends))
        || snapshot.is_some_and(|snapshot| has(&snapshot.backends))
}

fn require(control: &Control, name: &BackendName) -> Result<(), ControlError> {
    if !control.services.contains_key(&name.service) {
        return Err(ControlError::NoService(name.service.clone()));
    }
    find(control, name).ok_or_else(|| ControlError::NoBackend(name.clone()))
}

fn find(control: &Control, name: &BackendName) -> Option<()> {
    let service = control.services.get(&name.service)?;
    super::view::members(control, service)
        .iter()
        .any(|backend| backend.address == name.address)
        .then_some(())
}

/// The services in force: those of the configuration that were not removed, and added ones, which
/// take the place of a configured one of their name.
pub(super) fn services(
    config: &Config,
    intents: &Intents,
) -> Result<BTreeMap<ServiceName, Service>, ControlError> {
    let mut services = BTreeMap::new();
    let mut together = Together::default();
    let mut insert = |service: Service| {
        together.add(&service).map_err(|clash| refused(&service, clash))?;
        services.insert(service.name.clone(), service);
        Ok::<_, ControlError>(())
    };
    // Added ones first: where a configuration contradicts them, they are in force already.
    for (name, text) in &intents.added_services {
        insert(config::parse_service(&format!("the added service {name}"), text)?)?;
    }
    for service in &config.services {
        let is_replaced = intents.removed_services.contains(&service.name)
            || intents.added_services.contains_key(&service.name);
        if !is_replaced {
            insert(service.clone())?;
        }
    }
    Ok(services)
}

fn refused(service: &Service, clash: Clash) -> ControlError {
    let (service, Clash { field, holder, message }) = (service.name.clone(), clash);
    match field {
        "vip" => ControlError::KeyTaken { service, holder },
        _ => ControlError::Clash { service, field, message },
    }
}

/// What a running daemon cannot change about itself: all of it.
pub(super) fn check_fixed(now: &Daemon, wanted: &Daemon) -> Result<(), ControlError> {
    // Each key by its name, so that a new one cannot be forgotten.
    let Daemon {
        interfaces,
        xdp_mode,
        api_socket,
        metrics_listen,
        state_dir,
        pin_dir,
        hash_seed,
        gue_port,
        tunnel_sources,
        nat_ports,
        limits,
    } = now;
    let fixed = [
        ("interfaces", *interfaces == wanted.interfaces),
        ("xdp_mode", *xdp_mode == wanted.xdp_mode),
        ("api_socket", *api_socket == wanted.api_socket),
        ("metrics_listen", *metrics_listen == wanted.metrics_listen),
        ("state_dir", *state_dir == wanted.state_dir),
        ("pin_dir", *pin_dir == wanted.pin_dir),
        ("hash_seed", *hash_seed == wanted.hash_seed),
        ("gue_port", *gue_port == wanted.gue_port),
        ("tunnel_sources", *tunnel_sources == wanted.tunnel_sources),
        ("nat_ports", *nat_ports == wanted.nat_ports),
        ("max_*", *limits == wanted.limits),
    ];
    match fixed.iter().find(|(_, is_same)| !is_same) {
        Some((field, _)) => Err(ControlError::NeedsRestart(field)),
        None => Ok(()),
    }
}
