//! What the daemon answers to operators.

use std::net::SocketAddr;

use lb_common::Verdict;

use super::Daemon;
use crate::{
    api::protocol::{Answer, Backends, Failure, FailureKind, Lookup, Request, Services, VERSION},
    control::{Command, ControlError},
    datapath::lookup,
    model::{BackendName, Protocol, ServiceName},
};

impl Daemon {
    pub(super) fn answer(&mut self, request: Request) -> Answer {
        self.try_answer(request).unwrap_or_else(Answer::Failed)
    }

    fn try_answer(&mut self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::Status => Ok(Answer::Status(Box::new(self.status()))),
            Request::Services => {
                let services = self.control.services().values();
                let services = services.map(|service| self.service_item(service)).collect();
                Ok(Answer::Services(Services { version: VERSION, services }))
            }
            Request::Service { name } => self.show_service(&name),
            Request::Backends { service } => self.list_backends(service.as_ref()),
            Request::Backend { name } => self.show_backend(&name),
            Request::AddService { text } => self.operate(Command::AddService(text), "added"),
            Request::RemoveService { name } => {
                self.operate(Command::RemoveService(name), "removed")
            }
            Request::AddBackend { name, weight } => {
                self.operate(Command::AddBackend(name, weight), "added")
            }
            Request::RemoveBackend { name } => {
                self.operate(Command::RemoveBackend(name), "removed")
            }
            Request::SetMode { name, mode } => self.operate(Command::SetMode(name, mode), "done"),
            Request::SetWeight { name, weight } => {
                self.operate(Command::SetWeight(name, weight), "done")
            }
            Request::Apply { file, text } => {
                self.apply_text(&file, text).map_err(|error| failure(&error))?;
                Ok(Answer::Done(format!("{file} is in force")))
            }
            Request::Lookup { protocol, source, destination } => {
                self.lookup(protocol, source, destination)
            }
        }
    }

    fn operate(&mut self, command: Command, done: &str) -> Result<Answer, Failure> {
        let before = self.control.intents().clone();
        self.control.operate(command).map_err(|error| failure(&error))?;
        // What cannot be kept over a restart is not done at all: the operator would rely on it.
        if let Err(error) = self.state.set_intents(self.control.intents()) {
            let message = format!("{error}: nothing was changed");
            self.control.restore(before);
            return Err(Failure { kind: FailureKind::Negative, message });
        }
        self.apply();
        match &self.commit_problem {
            Some(problem) => Err(Failure {
                kind: FailureKind::Negative,
                message: format!("noted, but not in force: {problem}"),
            }),
            None => Ok(Answer::Done(done.to_owned())),
        }
    }

    fn show_service(&self, name: &ServiceName) -> Result<Answer, Failure> {
        let service = self
            .control
            .services()
            .get(name)
            .ok_or_else(|| failure(&ControlError::NoService(name.clone())))?;
        let mut item = self.service_item(service);
        item.members = self.backend_items(service);
        Ok(Answer::Services(Services { version: VERSION, services: vec![item] }))
    }

    fn list_backends(&self, name: Option<&ServiceName>) -> Result<Answer, Failure> {
        if let Some(name) = name
            && !self.control.services().contains_key(name)
        {
            return Err(failure(&ControlError::NoService(name.clone())));
        }
        let backends = self
            .control
            .services()
            .values()
            .filter(|service| name.is_none_or(|name| service.name == *name))
            .flat_map(|service| self.backend_items(service))
            .collect();
        Ok(Answer::Backends(Backends { version: VERSION, backends }))
    }

    fn show_backend(&self, name: &BackendName) -> Result<Answer, Failure> {
        let missing = || failure(&ControlError::NoBackend(name.clone()));
        let service = self.control.services().get(&name.service).ok_or_else(missing)?;
        let mut backends = self.backend_items(service);
        backends.retain(|backend| backend.address == name.address);
        if backends.is_empty() {
            return Err(missing());
        }
        Ok(Answer::Backends(Backends { version: VERSION, backends }))
    }

    fn lookup(
        &self,
        protocol: Protocol,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Result<Answer, Failure> {
        let arrays = self.datapath.tables.arrays();
        let found = lookup::lookup(arrays, protocol.number(), source, destination)
            .map_err(|verdict| no_way(verdict, protocol, destination))?;
        let service = self
            .control
            .services()
            .values()
            .find(|service| self.datapath.tables.service_id(&service.key()) == Some(found.service))
            .ok_or_else(|| no_way(Verdict::NotService, protocol, destination))?;
        // UDP has no beginning: its packets follow the table also where a slot is disputed.
        let backend = if protocol == Protocol::Udp { found.slot.current } else { found.backend() };
        let address = |id: u16| {
            let backend = &arrays.backends[usize::from(id)];
            backend.forward().map(|_| backend.address().into())
        };
        let backend =
            address(backend).ok_or_else(|| no_way(Verdict::NoBackend, protocol, destination))?;
        let slots = self.datapath.tables.slots(&service.key()).len();
        let reason = match (found.slot.is_disputed(), found.remembered, protocol) {
            (false, ..) => "the slot's backend",
            (true, _, Protocol::Udp) => "the slot's current backend: UDP follows the table",
            (true, Some(_), _) => "the slot has changed; the flow is remembered",
            (true, None, _) => {
                "the slot has changed; the flow is not remembered, so it is older than that"
            }
        };
        Ok(Answer::Lookup(Lookup {
            version: VERSION,
            service: service.name.clone(),
            backend,
            new_flows: address(found.slot.current),
            reason: reason.to_owned(),
            slot: found.flow as usize & (slots - 1),
            slots,
        }))
    }
}

fn no_way(verdict: Verdict, protocol: Protocol, destination: SocketAddr) -> Failure {
    let message = format!("{protocol} to {destination}: {}", verdict.explanation());
    match verdict {
        Verdict::NotService => Failure { kind: FailureKind::NotFound, message },
        _ => Failure { kind: FailureKind::Negative, message },
    }
}

fn failure(error: &ControlError) -> Failure {
    let kind = match error {
        ControlError::NoService(_) | ControlError::NoBackend(_) => FailureKind::NotFound,
        ControlError::ServiceExists(_)
        | ControlError::KeyTaken(_)
        | ControlError::BackendExists(_) => FailureKind::Conflict,
        ControlError::BadBackend(..)
        | ControlError::Config(_)
        | ControlError::Capacity(_)
        | ControlError::NeedsRestart(_) => FailureKind::Negative,
    };
    Failure { kind, message: error.to_string() }
}
