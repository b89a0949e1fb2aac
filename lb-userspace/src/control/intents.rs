//! What operators have said: it stays until they say otherwise, also over restarts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, Priority, ServiceName, Weight};

/// All that operators have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intents {
    /// Services that they added, as text of the configuration.
    pub added_services: BTreeMap<ServiceName, String>,
    /// Services of the configuration that they removed.
    pub removed_services: BTreeSet<ServiceName>,
    /// What they said of backends.
    pub backends: BTreeMap<BackendName, Intent>,
}

/// What operators have said of a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Intent {
    /// Whether it belongs to the service.
    pub membership: Membership,
    /// Whether it may take traffic.
    pub mode: Mode,
    /// Its weight in place of the configured one.
    pub weight: Option<Weight>,
    /// When its turn comes, for a backend that was added.
    #[serde(skip_serializing_if = "is_first")]
    pub priority: Priority,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_first(priority: &Priority) -> bool {
    *priority == 0
}

/// Whether a backend belongs to its service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Membership {
    /// As configuration and registry say.
    #[default]
    AsConfigured,
    /// Yes, with this weight unless the configuration gives one.
    Added(Weight),
    /// No, whatever they say.
    Removed,
}

/// Whether a backend may take traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// As its health allows.
    #[default]
    Ready,
    /// No new flows; those that it has stay.
    Drain,
    /// Nothing at all.
    Maint,
}

impl Intents {
    /// Services of which something was said, or of their backends.
    #[must_use]
    pub fn services(&self) -> Vec<ServiceName> {
        let backends = self.backends.keys().map(|backend| &backend.service);
        let services = self.added_services.keys().chain(&self.removed_services).chain(backends);
        services.cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What was said of a backend.
    #[must_use]
    pub fn of(&self, backend: &BackendName) -> Intent {
        self.backends.get(backend).copied().unwrap_or_default()
    }

    /// Changes what was said of a backend. What says nothing is forgotten.
    pub fn change(&mut self, backend: &BackendName, change: impl FnOnce(&mut Intent)) {
        let mut intent = self.of(backend);
        change(&mut intent);
        if intent == Intent::default() {
            self.backends.remove(backend);
        } else {
            self.backends.insert(backend.clone(), intent);
        }
    }

    /// Forgets all that was said of a service's backends.
    pub fn forget_backends(&mut self, service: &ServiceName) {
        self.backends.retain(|backend, _| backend.service != *service);
    }
}
