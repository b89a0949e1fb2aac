//! What the daemon answers to operators.

use std::net::SocketAddr;

use lb_common::{Verdict, policy::Scheduler};

use super::{Daemon, memory::StateDir, reload::ApplyError};
use crate::{
    api::protocol::{Answer, Backends, Failure, FailureKind, Lookup, Request, Services, VERSION},
    control::{Command, Control, ControlError, Mode},
    datapath::lookup,
    event::Wanted,
    model::{BackendName, Protocol, Service, ServiceName},
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
            Request::ResetService { name } => {
                self.operate(Command::ResetService(name), "as the configuration says")
            }
            Request::RemoveService { name } => {
                self.operate(Command::RemoveService(name), "removed")
            }
            Request::AddBackend { name, weight, priority } => {
                self.operate(Command::AddBackend(name, weight, priority), "added")
            }
            Request::RemoveBackend { name } => {
                self.operate(Command::RemoveBackend(name), "removed")
            }
            Request::SetMode { name, mode } => {
                if mode == Mode::Ready {
                    self.control.pardon(&name);
                }
                self.operate(Command::SetMode(name, mode), "done")
            }
            Request::SetWeight { name, weight } => {
                self.operate(Command::SetWeight(name, weight), "done")
            }
            Request::Apply { file, text } => {
                self.apply_text(&file, text).map_err(|error| match error {
                    ApplyError::Control(error) => failure(&error),
                    ApplyError::Memory(_) => negative(error.to_string()),
                })?;
                in_force(self.commit_problem.as_deref(), format!("{file} is in force"))
            }
            Request::Diff { file, text } => self
                .difference(&file, &text)
                .map(Answer::Difference)
                .map_err(|error| failure(&error)),
            Request::Lookup { protocol, source, destination } => {
                self.lookup(protocol, source, destination)
            }
            Request::Events { after, service, backend, .. } => {
                self.events(after, &Wanted { service, backend }).map(Answer::Events)
            }
        }
    }

    fn operate(&mut self, command: Command, done: &str) -> Result<Answer, Failure> {
        carry_out(&mut self.control, &self.state, command)?;
        self.apply();
        in_force(self.commit_problem.as_deref(), done.to_owned())
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
        for backend in &mut backends {
            backend.checks = self.check_log.of(name);
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
        let found =
            lookup::lookup(arrays, protocol.number(), source, destination).map_err(|verdict| {
                match verdict {
                    Verdict::SourceDenied => self.denied(protocol, source, destination),
                    _ => no_way(verdict, protocol, destination),
                }
            })?;
        let service = self
            .service_with(found.service)
            .ok_or_else(|| no_way(Verdict::NotService, protocol, destination))?;
        let (backend, why) = found.backend(protocol.number());
        let address = |id: u16| {
            let backend = &arrays.backends[usize::from(id)];
            backend.forward().map(|_| backend.address().into())
        };
        let backend =
            address(backend).ok_or_else(|| no_way(Verdict::NoBackend, protocol, destination))?;
        let slots = self.datapath.tables.slots(&service.key()).len();
        let scheduled = found.scheduler != Scheduler::Slot;
        Ok(Answer::Lookup(Lookup {
            version: VERSION,
            service: service.name.clone(),
            backend,
            new_flows: address(found.slot.current).filter(|_| !scheduled),
            scheduled,
            reason: why.explanation().to_owned(),
            slot: found.flow as usize & (slots - 1),
            slots,
        }))
    }

    fn service_with(&self, id: u32) -> Option<&Service> {
        let tables = &self.datapath.tables;
        let mut services = self.control.services().values();
        services.find(|service| tables.service_id(&service.key()) == Some(id))
    }

    fn denied(&self, protocol: Protocol, source: SocketAddr, destination: SocketAddr) -> Failure {
        let id = lookup::service_at(self.datapath.tables.arrays(), protocol.number(), destination);
        match id.and_then(|id| self.service_with(id)) {
            Some(service) => negative(format!(
                "{protocol} to {destination}: service `{}` does not allow the source {}",
                service.name,
                source.ip()
            )),
            None => no_way(Verdict::SourceDenied, protocol, destination),
        }
    }
}

/// What was noted is done if the tables took it.
fn in_force(commit_problem: Option<&str>, done: String) -> Result<Answer, Failure> {
    match commit_problem {
        Some(problem) => Err(negative(format!("noted, but not in force: {problem}"))),
        None => Ok(Answer::Done(done)),
    }
}

/// Writes down what an operator asks for and then does it, or neither: what cannot be kept over a
/// restart is not done at all, for the operator would rely on it.
fn carry_out(control: &mut Control, state: &StateDir, command: Command) -> Result<(), Failure> {
    let intents = control.plan(command).map_err(|error| failure(&error))?;
    state
        .set_intents(&intents)
        .map_err(|error| negative(format!("{error}: nothing was changed")))?;
    if let Err(error) = control.adopt(intents) {
        // What was planned a moment ago is not refused, but if it were it must not come back.
        let _ = state.set_intents(control.intents());
        return Err(failure(&error));
    }
    Ok(())
}

fn no_way(verdict: Verdict, protocol: Protocol, destination: SocketAddr) -> Failure {
    let message = format!("{protocol} to {destination}: {}", continued(verdict.explanation()));
    match verdict {
        Verdict::NotService => Failure { kind: FailureKind::NotFound, message },
        _ => Failure { kind: FailureKind::Negative, message },
    }
}

/// A sentence as it stands after a colon.
fn continued(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    let mut letters = sentence.chars();
    match (letters.next(), letters.clone().next()) {
        // Not an abbreviation.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => sentence.to_owned(),
    }
}

fn failure(error: &ControlError) -> Failure {
    let kind = match error {
        ControlError::NoService(_) | ControlError::NoBackend(_) | ControlError::NothingSaid(_) => {
            FailureKind::NotFound
        }
        ControlError::ServiceExists(_)
        | ControlError::KeyTaken { .. }
        | ControlError::Clash { .. }
        | ControlError::BackendExists(_) => FailureKind::Conflict,
        ControlError::BadBackend(..)
        | ControlError::Config(_)
        | ControlError::Capacity(_)
        | ControlError::NeedsRestart(_) => FailureKind::Negative,
    };
    Failure { kind, message: error.to_string() }
}

const fn negative(message: String) -> Failure {
    Failure { kind: FailureKind::Negative, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        control::{Intents, Memory, Moment},
        health::CheckResult,
    };

    const CONFIG: &str = r#"
[daemon]
interfaces = ["eth0"]
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
forward = "l2"
[service.health_check]
type = "tcp"
[[service.backend]]
address = "10.0.1.11"
"#;

    #[test]
    fn no_capital_follows_a_colon() {
        assert_eq!(continued("The service has none."), "the service has none");
        assert_eq!(continued("IP, but neither"), "IP, but neither");
        let failure = no_way(Verdict::NoBackend, Protocol::Tcp, ([10, 200, 0, 1], 80).into());
        let expected = "tcp to 10.200.0.1:80: the service has no backend that takes traffic";
        assert_eq!(failure.message, expected);
    }

    #[test]
    fn what_the_tables_did_not_take_is_not_done() {
        let refusal = in_force(Some("no room"), "lb.toml is in force".to_owned());
        let refusal = refusal.expect_err("not in force");
        assert_eq!(refusal.message, "noted, but not in force: no room");
        assert_eq!(refusal.kind.exit_code(), 1);
        assert!(in_force(None, "done".to_owned()).is_ok());
    }

    #[test]
    fn what_cannot_be_written_down_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("free");
        std::fs::create_dir(directory.path().join("intents.json.new")).expect("room");
        let config = Config::parse("lb.toml", CONFIG).expect("valid");
        let mut control = Control::new(config, Memory::default()).expect("room");
        let target = control.targets().remove(0);
        let outcome = Ok(std::time::Duration::ZERO);
        let (backend, generation) = (target.backend, target.generation);
        control.judge(
            &CheckResult { backend: backend.clone(), generation, outcome, weight: None },
            Moment::default(),
        );
        let health = control.health().clone();

        let refusal = carry_out(&mut control, &state, Command::RemoveBackend(backend))
            .expect_err("something is in the way");
        assert_eq!(refusal.kind, FailureKind::Negative);
        assert!(refusal.message.ends_with("nothing was changed"), "{refusal}");
        assert_eq!(control.intents(), &Intents::default());
        assert_eq!(control.health(), &health);
        assert_eq!(control.targets()[0].generation, generation);
    }

    #[test]
    fn what_is_refused_is_not_written_down() {
        let directory = tempfile::tempdir().expect("a directory");
        let state = StateDir::open(directory.path()).expect("free");
        let config = Config::parse("lb.toml", CONFIG).expect("valid");
        let mut control = Control::new(config, Memory::default()).expect("room");
        let stranger = "web/10.0.1.99".parse().expect("a name");
        let refusal = carry_out(&mut control, &state, Command::RemoveBackend(stranger))
            .expect_err("it is not there");
        assert_eq!(refusal.kind, FailureKind::NotFound);
        assert!(!directory.path().join("intents.json").exists());
    }
}
