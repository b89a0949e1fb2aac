//! Backends that take no new flows: why, since when, and what that means for the flows that they
//! have. Those that were removed are remembered for as long as it means anything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{BackendView, State};
use crate::{
    datapath::desired::Flows,
    model::{BackendName, FlowEnd, FlowRule, FlowRules, Service, ServiceName, UdpFlows},
};

/// Why a backend takes no new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Drain,
    /// Its checks fail, it is in maintenance, or it has not been judged yet.
    Down,
    Remove,
}

/// A time without new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Absence {
    cause: Cause,
    /// In milliseconds.
    since: u64,
}

/// What is known of a backend that its service does not name any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// Its own port; 0 is the one that clients reach.
    pub(super) port: u16,
    /// Its identifier in QUIC connections.
    pub(super) server_id: Option<u64>,
}

/// What becomes of a backend's flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What becomes of them now.
    pub flows: Flows,
    /// Until when, in milliseconds; `None` is for as long as nothing else happens.
    pub until: Option<u64>,
}

/// Who takes no new flows. Times are in milliseconds of a clock that only goes forward.
#[derive(Clone, Debug, Default)]
pub(super) struct Absences {
    absences: BTreeMap<BackendName, Absence>,
    /// Backends of services when this was last brought up to date.
    present: BTreeMap<BackendName, Trace>,
    departed: BTreeMap<BackendName, Trace>,
    /// When this was last brought up to date.
    noted: u64,
}

/// How long clients are told at least, and at most: those that ask later than that are few, and as
/// long as they are told, slots keep a backend that does not answer for their previous one.
const TOLD: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

impl Absences {
    /// Takes in who is there at a time, and in which state. No more than `room` backends that were
    /// removed are kept, those that left last.
    pub(super) fn note<'a>(
        &mut self,
        services: &BTreeMap<ServiceName, Service>,
        views: impl Iterator<Item = &'a BackendView> + Clone,
        room: usize,
        now: u64,
    ) {
        let present: BTreeMap<BackendName, Trace> = views
            .clone()
            .map(|view| (view.name.clone(), Trace::of(&services[&view.name.service], &view.name)))
            .collect();
        let mut gone = std::mem::take(&mut self.departed);
        gone.extend(std::mem::take(&mut self.present));
        gone.retain(|name, _| {
            let service = services.get(&name.service);
            let may_be = |service: &Service| service.backend_rule().check(name.address).is_ok();
            service.is_some_and(may_be) && !present.contains_key(name)
        });
        let mut absences = BTreeMap::new();
        for view in views {
            let absence = self.absence(&view.name, view.effective.state, now);
            absences.extend(absence.map(|absence| (view.name.clone(), absence)));
        }
        for name in gone.keys() {
            absences.insert(name.clone(), self.departure(name, &services[&name.service], now));
        }
        gone.retain(|name, _| {
            absences[name].fate(&services[&name.service], now).flows != Flows::Leave
        });
        for name in oldest(&gone, &absences, gone.len().saturating_sub(room)) {
            gone.remove(&name);
        }
        absences.retain(|name, _| present.contains_key(name) || gone.contains_key(name));
        (self.absences, self.present, self.departed) = (absences, present, gone);
        self.noted = now;
    }

    /// The absence of a backend that is there, in this state from now on.
    fn absence(&self, name: &BackendName, state: State, now: u64) -> Option<Absence> {
        let before = self.absences.get(name).copied();
        let since_before = |cause| {
            let goes_on = before.filter(|before| before.cause == cause);
            Some(goes_on.unwrap_or(Absence { cause, since: now }))
        };
        match state {
            // Whoever stands by keeps its flows: it is as good as those that come before it.
            State::Up | State::Panic | State::Standby => None,
            // Others may still reach it: what it has is not taken from it.
            State::Drain | State::Ejected => since_before(Cause::Drain),
            State::Down | State::Maint => since_before(Cause::Down),
            // It may have flows from before it was removed or taken out.
            State::Starting => before.or(Some(Absence { cause: Cause::Down, since: now })),
        }
    }

    /// The absence of a backend that is gone. Flows that were over before do not come back.
    fn departure(&self, name: &BackendName, service: &Service, now: u64) -> Absence {
        let before = self.absences.get(name).copied();
        let goes_on = before.filter(|before| {
            before.cause == Cause::Remove || before.fate(service, now).flows != Flows::Keep
        });
        goes_on.unwrap_or(Absence { cause: Cause::Remove, since: now })
    }

    /// What becomes of the flows of a backend that is there.
    pub(super) fn fate(&self, service: &Service, view: &BackendView, now: u64) -> Fate {
        let absence = self.absence(&view.name, view.effective.state, now);
        let stay = Fate { flows: Flows::Stay, until: None };
        absence.map_or(stay, |absence| absence.fate(service, now))
    }

    /// The backends that a service does not name any more, with what becomes of their flows.
    pub(super) fn departed<'a>(
        &'a self,
        service: &'a Service,
        now: u64,
    ) -> impl Iterator<Item = (&'a BackendName, Trace, Fate)> {
        let of_service = self.departed.iter().filter(|(name, _)| name.service == service.name);
        of_service.filter_map(move |(name, trace)| {
            let fate = self.absences.get(name)?.fate(service, now);
            (fate.flows != Flows::Leave).then_some((name, *trace, fate))
        })
    }

    /// The backends that were removed and get packets of the flows that they have.
    pub(super) fn kept<'a>(
        &'a self,
        services: &'a BTreeMap<ServiceName, Service>,
    ) -> impl Iterator<Item = &'a BackendName> {
        let flows = |name: &BackendName| {
            let service = services.get(&name.service)?;
            Some(self.absences.get(name)?.fate(service, self.noted).flows)
        };
        self.departed.keys().filter(move |name| flows(name) == Some(Flows::Keep))
    }

    /// The earliest time after `now` at which something else becomes of anybody's flows.
    pub(super) fn next_deadline(
        &self,
        services: &BTreeMap<ServiceName, Service>,
        now: u64,
    ) -> Option<u64> {
        let until = |(name, absence): (&BackendName, &Absence)| {
            absence.fate(services.get(&name.service)?, now).until
        };
        self.absences.iter().filter_map(until).min()
    }

    /// Takes in a backend that is not there, and whose flows may be.
    pub(super) fn presume(&mut self, name: BackendName, trace: Trace, now: u64) {
        self.absences.insert(name.clone(), Absence { cause: Cause::Remove, since: now });
        self.departed.insert(name, trace);
    }

    /// Forgets those backends that were removed which left first: half of them, and one at least.
    /// False if there were none.
    pub(super) fn forget_departed(&mut self) -> bool {
        let forgotten = oldest(&self.departed, &self.absences, self.departed.len().div_ceil(2));
        for name in &forgotten {
            self.departed.remove(name);
            self.absences.remove(name);
        }
        !forgotten.is_empty()
    }

    /// What is known of services goes on under other names; `None` is the end of it.
    pub(super) fn rename(&mut self, renamed: impl Fn(&ServiceName) -> Option<ServiceName>) {
        rename_keys(&mut self.absences, &renamed);
        rename_keys(&mut self.present, &renamed);
        rename_keys(&mut self.departed, &renamed);
    }
}

impl Absence {
    fn fate(self, service: &Service, now: u64) -> Fate {
        let FlowRules { drain, down, remove } = service.flow_rules;
        let rule = match self.cause {
            Cause::Drain => drain,
            Cause::Down => down,
            Cause::Remove => remove,
        };
        let (end, start) = match rule {
            FlowRule::End(end) => (end, self.since),
            FlowRule::Keep { timeout: None, .. } => {
                return Fate { flows: Flows::Keep, until: None };
            }
            FlowRule::Keep { timeout: Some(timeout), then } => {
                let over = later(self.since, timeout);
                if now < over {
                    return Fate { flows: Flows::Keep, until: Some(over) };
                }
                (then, over)
            }
        };
        let (least, most) = TOLD;
        let told = later(start, service.flow_grace.clamp(least, most));
        if end == FlowEnd::Reset && now < told {
            return Fate { flows: Flows::Reset, until: Some(told) };
        }
        Fate { flows: Flows::Leave, until: None }
    }
}

impl Trace {
    fn of(service: &Service, name: &BackendName) -> Self {
        let server_id = match &service.policy.udp_flows {
            UdpFlows::Quic { servers, .. } => servers.get(&name.address).copied(),
            UdpFlows::Hash | UdpFlows::Remember(_) => None,
        };
        Self { port: service.port_of(&name.address), server_id }
    }
}

/// The names of so many that left first.
fn oldest(
    gone: &BTreeMap<BackendName, Trace>,
    absences: &BTreeMap<BackendName, Absence>,
    count: usize,
) -> Vec<BackendName> {
    let by_age: BTreeSet<(u64, &BackendName)> =
        gone.keys().map(|name| (absences[name].since, name)).collect();
    by_age.into_iter().take(count).map(|(_, name)| name.clone()).collect()
}

/// The same under other names; `None` is the end of it.
pub(super) fn rename_keys<T>(
    map: &mut BTreeMap<BackendName, T>,
    renamed: impl Fn(&ServiceName) -> Option<ServiceName>,
) {
    let renamed = |(name, value): (BackendName, T)| {
        let service = renamed(&name.service)?;
        Some((BackendName { service, ..name }, value))
    };
    *map = std::mem::take(map).into_iter().filter_map(renamed).collect();
}

fn later(time: u64, by: Duration) -> u64 {
    time.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX))
}
