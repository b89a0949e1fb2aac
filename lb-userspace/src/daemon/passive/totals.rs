//! What has been seen of each watched backend since the daemon began, for metrics.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    control::State,
    event::{Event, EventKind},
    metrics::{AttemptCounts, WatchReport},
    model::BackendName,
    outlier::{Observation, Tally},
};

/// What has been seen of each watched backend since the daemon began.
#[derive(Default)]
pub(super) struct Totals(BTreeMap<BackendName, WatchReport>);

impl Totals {
    /// Takes in what a second has shown of a backend.
    pub(super) fn add(&mut self, backend: &BackendName, seen: &Observation) {
        let total = self.0.entry(backend.clone()).or_default();
        add(&mut total.checks, seen.checks);
        add(&mut total.traffic, seen.traffic);
    }

    /// Counts a backend that was ejected.
    pub(super) fn note(&mut self, event: &Event) {
        let is_ejection = event.kind == EventKind::BackendState
            && event.to.as_deref() == Some(State::Ejected.name());
        if let (true, Some(service), Some(address)) = (is_ejection, &event.service, event.backend) {
            let backend = BackendName { service: service.clone(), address };
            self.0.entry(backend).or_default().ejections += 1;
        }
    }

    /// What was seen of a backend.
    pub(super) fn of(&self, backend: &BackendName) -> WatchReport {
        self.0.get(backend).copied().unwrap_or_default()
    }

    /// Forgets all but these.
    pub(super) fn keep(&mut self, watched: &BTreeSet<&BackendName>) {
        self.0.retain(|backend, _| watched.contains(backend));
    }
}

fn add(total: &mut AttemptCounts, tally: Tally) {
    let Tally { attempts, failures } = tally.clamped();
    total.attempts += u64::from(attempts);
    total.failed += u64::from(failures);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_add_up_and_only_ejections_are_counted() {
        let backend: BackendName = "web/10.0.1.11".parse().expect("a name");
        let mut totals = Totals::default();
        for failures in [1, 5] {
            let traffic = Tally { attempts: 3, failures };
            totals.add(&backend, &Observation { traffic, ..Observation::default() });
        }
        for (kind, to) in [
            (EventKind::BackendState, "ejected"),
            (EventKind::BackendState, "up"),
            (EventKind::BackendSuspect, "ejected"),
        ] {
            totals.note(&Event {
                kind,
                service: Some(backend.service.clone()),
                backend: Some(backend.address),
                from: None,
                to: Some(to.to_owned()),
                reason: String::new(),
            });
        }
        let told = totals.of(&backend);
        assert_eq!(told.traffic, AttemptCounts { attempts: 6, failed: 4 });
        assert_eq!((told.checks, told.ejections), (AttemptCounts::default(), 1));
        totals.keep(&BTreeSet::new());
        assert_eq!(totals.of(&backend), WatchReport::default());
    }
}
