//! What has changed since it was last told.

use std::collections::BTreeMap;

use super::{BackendView, Control, Standing, State, view::Arranged};
use crate::{
    event::{Event, EventKind},
    model::{BackendName, Priority, ServiceName},
};

/// The state of a backend that was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) state: State,
    /// In milliseconds since 1970.
    pub(super) since: u64,
    pub(super) changes: u64,
}

/// What was last told of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotedService {
    has_quorum: bool,
    panic: bool,
    serving: Option<Priority>,
}

impl Control {
    /// What has happened since the last call; `now` is in milliseconds since 1970.
    pub fn changes(&mut self, now: u64) -> Vec<Event> {
        let arranged = self.arranged();
        self.tell_changes(arranged, now)
    }

    /// The same, of backends and services as they are arranged.
    pub(super) fn tell_changes(&mut self, arranged: Vec<Arranged>, now: u64) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.untold);
        self.tell_uplink(&mut events);
        let mut views = Vec::new();
        let mut standings = BTreeMap::new();
        for (service, (of_service, standing)) in self.services.values().zip(arranged) {
            views.extend(of_service);
            if self.openings.is_open(&service.name) {
                let before = self.standings.get(&service.name).copied();
                let noted = NotedService::of(&standing);
                noted.tell(before, &service.name, &standing, &mut events);
                standings.insert(service.name.clone(), noted);
            }
        }
        self.standings = standings;
        let joined = views.iter().filter(|view| self.has_joined(view));
        self.joined = joined.map(|view| view.name.clone()).collect();
        self.tell_states(views, now, &mut events);
        events
    }

    fn tell_states(&mut self, views: Vec<BackendView>, now: u64, events: &mut Vec<Event>) {
        let mut states = BTreeMap::new();
        for view in views {
            let before = self.states.remove(&view.name);
            let state = view.effective.state;
            let noted = match before {
                Some(noted) if noted.state == state => noted,
                _ => {
                    let from = before.map(|noted| noted.state);
                    events.push(changed(&view.name, from, Some(state), view.effective.reason));
                    let changes = before.map_or(0, |noted| noted.changes + 1);
                    Noted { state, since: now, changes }
                }
            };
            states.insert(view.name, noted);
        }
        for (backend, noted) in std::mem::replace(&mut self.states, states) {
            events.push(changed(&backend, Some(noted.state), None, "removed".to_owned()));
        }
    }

    fn tell_uplink(&mut self, events: &mut Vec<Event>) {
        let is_cut_off = self.is_cut_off();
        if std::mem::replace(&mut self.told_cut_off, is_cut_off) == is_cut_off {
            return;
        }
        let (to, reason) = if is_cut_off {
            let reason = "nobody answers this load balancer any more: that is taken for its own \
                          trouble, and backends stay as they were";
            ("silent", reason)
        } else {
            ("heard", "backends answer again: they are judged anew")
        };
        events.push(Event {
            kind: EventKind::Uplink,
            service: None,
            backend: None,
            from: None,
            to: Some(to.to_owned()),
            reason: reason.to_owned(),
        });
    }
}

impl NotedService {
    fn of(standing: &Standing) -> Self {
        let Standing { serving, has_quorum, panic, .. } = *standing;
        Self { has_quorum, panic, serving }
    }

    /// Says what is another than before. A service that is new is well unless it is said otherwise.
    fn tell(
        self,
        before: Option<Self>,
        service: &ServiceName,
        standing: &Standing,
        events: &mut Vec<Event>,
    ) {
        let (well, meant) = standing.well;
        let reason = format!("{well} of {meant} backends are well");
        let mut tell = |kind, from: Option<String>, to: String| {
            events.push(Event {
                kind,
                service: Some(service.clone()),
                backend: None,
                from,
                to: Some(to),
                reason: reason.clone(),
            });
        };
        let word = |is_so, yes: &str, no: &str| if is_so { yes } else { no }.to_owned();
        if before.is_none_or(|before| before.has_quorum != self.has_quorum) {
            let from = before.map(|before| word(before.has_quorum, "up", "down"));
            tell(EventKind::ServiceState, from, word(self.has_quorum, "up", "down"));
        }
        if before.is_some_and(|before| before.panic) != self.panic {
            let from = Some(word(!self.panic, "on", "off"));
            tell(EventKind::Panic, from, word(self.panic, "on", "off"));
        }
        let turn = |serving: Option<Priority>| serving.map(|priority| priority.to_string());
        if let Some(to) = turn(self.serving)
            && let Some(before) = before
            && before.serving.is_some_and(|before| Some(before) != self.serving)
        {
            tell(EventKind::Priority, turn(before.serving), to);
        }
    }
}

fn changed(backend: &BackendName, from: Option<State>, to: Option<State>, reason: String) -> Event {
    let word = |state: Option<State>| state.map(|state| state.name().to_owned());
    Event {
        kind: EventKind::BackendState,
        service: Some(backend.service.clone()),
        backend: Some(backend.address),
        from: word(from),
        to: word(to),
        reason,
    }
}
