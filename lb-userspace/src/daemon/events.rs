//! What happens, told to those who watch: the log, the journal and who follows it, hooks.

pub(super) mod journal;

use super::{Daemon, now};
use crate::{
    api::{
        events::{Events, Follower},
        protocol::{Answer, Failure, FailureKind, Request, VERSION},
        server::Reply,
    },
    control::ControlError,
    event::{Event, EventKind, Wanted},
    model::ServiceName,
};
use journal::Backlog;

impl Daemon {
    /// Tells everybody. Waits for nobody.
    pub(super) fn tell(&mut self, event: Event) {
        log(&event);
        let told = self.journal.add(event, now());
        self.hooks.offer(&told);
    }

    /// Tells that a configuration is in force, or was refused.
    pub(super) fn tell_config(&mut self, to: &str, reason: String) {
        let kind = EventKind::Config;
        let to = Some(to.to_owned());
        self.tell(Event { kind, service: None, backend: None, from: None, to, reason });
    }

    /// Tells that a registry answers again, or does not any more.
    pub(super) fn tell_registry(&mut self, service: &ServiceName, to: &str, reason: String) {
        let from = if to == "up" { "down" } else { "up" };
        self.tell(Event {
            kind: EventKind::Registry,
            service: Some(service.clone()),
            backend: None,
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            reason,
        });
    }

    /// Answers; who wants to follow gets what happens from the answer on.
    pub(super) fn reply(&mut self, request: Request) -> Reply {
        let wanted = match &request {
            Request::Events { service, backend, follow: true, .. } => {
                Some(Wanted { service: service.clone(), backend: *backend })
            }
            _ => None,
        };
        let answer = self.answer(request);
        let Some(wanted) = wanted.filter(|_| !matches!(answer, Answer::Failed(_))) else {
            return answer.into();
        };
        match self.journal.follow() {
            Ok(events) => Reply { answer, follower: Some(Follower { events, wanted }) },
            Err(error) => {
                let kind = FailureKind::Conflict;
                Answer::Failed(Failure { kind, message: error.to_string() }).into()
            }
        }
    }

    /// What has happened to what somebody asks for, which is there or was not long ago.
    pub(super) fn events(&self, after: Option<u64>, wanted: &Wanted) -> Result<Events, Failure> {
        let Backlog { epoch, last, lost, events } = self.journal.backlog(after, wanted);
        if let Some(service) = &wanted.service
            && !self.control.services().contains_key(service)
            && self.journal.backlog(None, wanted).events.is_empty()
        {
            let message = ControlError::NoService(service.clone()).to_string();
            return Err(Failure { kind: FailureKind::NotFound, message });
        }
        Ok(Events { version: VERSION, epoch, last, lost, events })
    }
}

fn log(event: &Event) {
    let (subject, from, to) = (event.subject(), event.before(), event.now());
    let Event { kind, reason, .. } = event;
    if event.is_bad_news() {
        tracing::warn!(%subject, from, to, reason, "{kind}");
    } else {
        tracing::info!(%subject, from, to, reason, "{kind}");
    }
}
