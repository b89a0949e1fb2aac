//! What traffic and the course of checks show of backends, in place of asking them.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Control, Moment, State, returns::Share, view};
use crate::{
    event::{Event, EventKind},
    model::{BackendName, Service, ServiceName},
    outlier::{Happening, Observation, Outliers, Period, Suspicion, learned::History},
};

/// What was seen of all backends in a period.
pub type Observations = BTreeMap<ServiceName, BTreeMap<IpAddr, Observation>>;

impl Control {
    /// Takes in what was seen in a period that has ended.
    pub(super) fn observe(&mut self, observations: &Observations, at: Moment) -> bool {
        self.now = self.now.max(at.clock);
        let watched: Vec<Service> = self
            .services
            .values()
            .filter(|service| observations.contains_key(&service.name))
            .cloned()
            .collect();
        let mut is_news = false;
        for service in watched {
            let seen = &observations[&service.name];
            is_news |= self.judge_trials(&service, seen);
            is_news |= self.judge_outliers(&service, seen, at);
        }
        is_news
    }

    /// A backend on trial may not fail its clients.
    fn judge_trials(&mut self, service: &Service, seen: &BTreeMap<IpAddr, Observation>) -> bool {
        let mut is_news = false;
        for (address, seen) in seen {
            let name = BackendName { service: service.name.clone(), address: *address };
            let has_failed =
                seen.traffic.attempts > 0 && seen.traffic.failures >= seen.traffic.attempts;
            if has_failed && self.returns.is_on_trial(&name, &service.recovery, self.now) {
                self.returns.fail_trial(&name, &service.recovery, self.now);
                is_news = true;
            }
        }
        is_news
    }

    fn judge_outliers(
        &mut self,
        service: &Service,
        seen: &BTreeMap<IpAddr, Observation>,
        at: Moment,
    ) -> bool {
        // What fails since this load balancer is cut off says nothing of anybody.
        if service.outlier.is_off() || self.is_cut_off() {
            return false;
        }
        let views = view::backends(self, service);
        let takes_part = |state: State| matches!(state, State::Up | State::Panic | State::Standby);
        let eligible = views
            .iter()
            .filter(|view| takes_part(view.effective.state))
            .map(|view| view.name.address)
            .collect();
        let history = &mut self.history;
        let outliers = self.outliers.entry(service.name.clone()).or_insert_with(|| {
            let mut outliers = Outliers::new(service.outlier);
            if let Some(history) = history.remove(&service.name) {
                outliers.learn(history);
            }
            outliers
        });
        let period = Period { now: at.clock, hour_of_week: at.hour_of_week(), backends: seen };
        let suspicions = outliers.observe(&period, &eligible);
        let is_news = !suspicions.is_empty();
        let told = suspicions.into_iter().filter_map(|it| told(&service.name, it));
        self.untold.extend(told);
        is_news
    }

    /// Why a backend is ejected, if it is.
    pub(super) fn ejected(&self, name: &BackendName) -> Option<String> {
        let ejection = self.outliers.get(&name.service)?.ejection(&name.address)?;
        let seconds = ejection.until.saturating_sub(ejection.since).div_ceil(1000);
        Some(format!("ejected for {seconds} s ({}): {}", ejection.detector, ejection.evidence))
    }

    /// The part of its weight that a backend has left since it drifts towards failure.
    pub(super) fn drift(&self, name: &BackendName) -> Option<Share> {
        let (percent, reason) = self.outliers.get(&name.service)?.factor(&name.address)?;
        Some(Share { percent, reason: reason.to_owned() })
    }

    /// What speaks against a backend at present, by what its traffic and its checks show.
    #[must_use]
    pub fn suspicion(&self, name: &BackendName) -> Option<String> {
        let drift =
            || self.drift(name).map(|Share { percent, reason }| format!("{percent} %: {reason}"));
        self.ejected(name).or_else(drift)
    }

    /// What was learned of backends, of services that learn.
    #[must_use]
    pub fn history(&self) -> BTreeMap<&ServiceName, &History> {
        let learned = self.outliers.iter();
        let learned = learned.filter_map(|(name, outliers)| Some((name, outliers.history()?)));
        self.history.iter().chain(learned).collect()
    }

    /// Ends ejections that are over, and forgets backends and services that are gone.
    pub(super) fn note_outliers(&mut self) {
        let now = self.now;
        let services = &self.services;
        self.outliers.retain(|name, _| services.get(name).is_some_and(|it| !it.outlier.is_off()));
        for (name, outliers) in &mut self.outliers {
            outliers.set(services[name].outlier);
            let returned = outliers.note(now);
            self.untold.extend(returned.into_iter().filter_map(|it| told(name, it)));
        }
    }
}

/// What is said of it apart from changes of states, which speak for themselves.
fn told(service: &ServiceName, suspicion: Suspicion) -> Option<Event> {
    let (kind, to) = match suspicion.happening {
        Happening::Spared => (EventKind::BackendSuspect, None),
        Happening::Lightened { percent } => (EventKind::BackendWeight, Some(format!("{percent}%"))),
        Happening::Restored => (EventKind::BackendWeight, Some("100%".to_owned())),
        Happening::Ejected { .. } | Happening::Returned => return None,
    };
    Some(Event {
        kind,
        service: Some(service.clone()),
        backend: Some(suspicion.backend),
        from: None,
        to,
        reason: suspicion.evidence,
    })
}
