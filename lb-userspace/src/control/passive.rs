//! What traffic and the course of checks show of backends, in place of asking them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Control, Moment, State, returns::Share, view};
use crate::{
    event::{Event, EventKind},
    model::{BackendName, Service, ServiceName},
    outlier::{Happening, Observation, Outliers, Period, Suspicion, Tally, learned::History},
};

/// What was seen of all backends in a period.
pub type Observations = BTreeMap<ServiceName, BTreeMap<IpAddr, Observation>>;

impl Control {
    /// Takes in what was seen in a period that has ended.
    pub(super) fn observe(&mut self, observations: &Observations, at: Moment) -> bool {
        self.now = self.now.max(at.clock);
        // What fails since this load balancer is cut off says nothing of anybody.
        if self.is_cut_off() {
            return false;
        }
        let mut is_news = self.judge_trials(observations);
        for (name, backends) in observations {
            let service = self.services.get(name).filter(|service| !service.outlier.is_off());
            let Some(eligible) = service.map(|service| self.eligible(service)) else { continue };
            let period = Period { now: at.clock, hour_of_week: at.hour_of_week(), backends };
            is_news |= self.judge_outliers(name, &period, &eligible);
        }
        is_news
    }

    /// A backend on trial may not fail its clients, unless the others do as well.
    fn judge_trials(&mut self, observations: &Observations) -> bool {
        let mut is_news = false;
        for (name, seen) in observations {
            let Some(Service { recovery, .. }) = self.services.get(name) else { continue };
            if recovery.trial.is_none() {
                continue;
            }
            let tried = seen.iter().filter_map(|(address, seen)| {
                let backend = BackendName { service: name.clone(), address: *address };
                let is_tried = self.returns.is_on_trial(&backend, recovery, self.now);
                is_tried.then_some((backend, seen.traffic))
            });
            let tried: Vec<(BackendName, Tally)> = tried.collect();
            for (backend, traffic) in tried {
                if !fail(seen.iter().filter(|(other, _)| **other != backend.address)) {
                    is_news |= self.returns.try_out(&backend, recovery, traffic, self.now);
                }
            }
        }
        is_news
    }

    /// Backends that take flows by all other inputs, or would if it were their turn.
    fn eligible(&self, service: &Service) -> BTreeSet<IpAddr> {
        let takes_part = |state: State| matches!(state, State::Up | State::Panic | State::Standby);
        let views = view::backends(self, service).into_iter();
        let eligible = views.filter(|view| takes_part(view.effective.state));
        eligible.map(|view| view.name.address).collect()
    }

    fn judge_outliers(
        &mut self,
        name: &ServiceName,
        period: &Period<'_>,
        eligible: &BTreeSet<IpAddr>,
    ) -> bool {
        let (settings, history) = (self.services[name].outlier, &mut self.history);
        let outliers = self.outliers.entry(name.clone()).or_insert_with(|| {
            let mut outliers = Outliers::new(settings);
            if let Some(history) = history.remove(name) {
                outliers.learn(history);
            }
            outliers
        });
        let suspicions = outliers.observe(period, eligible);
        let is_news = !suspicions.is_empty();
        self.untold.extend(suspicions.into_iter().filter_map(|it| told(name, it)));
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

    /// Takes in that an operator wants a backend to be tried again: what its traffic showed, and how
    /// often it went out, is forgotten. What checks and its agent say is not.
    pub fn pardon(&mut self, name: &BackendName) {
        self.returns.pardon(name);
        if let Some(outliers) = self.outliers.get_mut(&name.service) {
            outliers.pardon(&name.address);
        }
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
        self.outliers.retain(|name, outliers| {
            let is_on = services.get(name).is_some_and(|it| !it.outlier.is_off());
            if !is_on && let Some(history) = outliers.history() {
                self.history.insert(name.clone(), history.clone());
            }
            is_on
        });
        self.history.retain(|name, _| services.contains_key(name));
        for (name, outliers) in &mut self.outliers {
            let settings = services[name].outlier;
            // What was learned in weeks is not lost by a moment without.
            if !settings.learned
                && let Some(history) = outliers.history()
            {
                self.history.insert(name.clone(), history.clone());
            }
            outliers.set(settings);
            if settings.learned
                && let Some(history) = self.history.remove(name)
            {
                outliers.learn(history);
            }
            let returned = outliers.note(now);
            self.untold.extend(returned.into_iter().filter_map(|it| told(name, it)));
        }
    }
}

/// Whether more than half of the connections to these failed.
fn fail<'a>(others: impl Iterator<Item = (&'a IpAddr, &'a Observation)>) -> bool {
    let traffic = others.map(|(_, seen)| seen.traffic.clamped());
    let (attempts, failures) = traffic.fold((0, 0), |(attempts, failures), seen| {
        (attempts + u64::from(seen.attempts), failures + u64::from(seen.failures))
    });
    failures * 2 > attempts
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
