//! What happened, for those who watch: operators, logs, hooks.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::model::ServiceName;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What kind of thing.
    pub kind: EventKind,
    /// The service that it happened to; `None` if it concerns the whole load balancer.
    pub service: Option<ServiceName>,
    /// The backend of that service that it happened to.
    pub backend: Option<IpAddr>,
    /// What was before, in one word; `None` if there was nothing.
    pub from: Option<String>,
    /// What is now, in one word; `None` if there is nothing any more.
    pub to: Option<String>,
    /// Why, as one phrase.
    pub reason: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A backend's effective state changed: `from` and `to` are states, `none` is not there.
    BackendState,
    /// A backend's weight changed for a reason of health: `from` and `to` are weights in force.
    BackendWeight,
    /// Something speaks against a backend, but nothing was done, since too many are out already.
    BackendSuspect,
    /// A service has its quorum (`up`) or has not (`down`).
    ServiceState,
    /// Too few backends are well, so all get traffic (`on`), or it is over (`off`).
    Panic,
    /// The priority that serves changed: `from` and `to` are its numbers.
    Priority,
    /// Nobody answers this load balancer any more (`silent`), or somebody does again (`heard`).
    Uplink,
    /// A registry answers (`up`) or does not (`down`).
    Registry,
    /// A configuration came into force (`loaded`) or was refused (`refused`).
    Config,
    /// A hook ran (`done`), failed (`failed`) or was kept back by its rate (`limited`).
    Hook,
    /// Another number of backends is desired.
    Scaling,
}

impl EventKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::BackendState,
        Self::BackendWeight,
        Self::BackendSuspect,
        Self::ServiceState,
        Self::Panic,
        Self::Priority,
        Self::Uplink,
        Self::Registry,
        Self::Config,
        Self::Hook,
        Self::Scaling,
    ];

    /// The word in output, configuration and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BackendState => "backend-state",
            Self::BackendWeight => "backend-weight",
            Self::BackendSuspect => "backend-suspect",
            Self::ServiceState => "service-state",
            Self::Panic => "panic",
            Self::Priority => "priority",
            Self::Uplink => "uplink",
            Self::Registry => "registry",
            Self::Config => "config",
            Self::Hook => "hook",
            Self::Scaling => "scaling",
        }
    }

    /// What `to` can be, where that is one of few words; `None` where it is not a word at all. States
    /// of backends are the control core's.
    #[must_use]
    pub const fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::ServiceState | Self::Registry => Some(&["up", "down"]),
            Self::Panic => Some(&["on", "off"]),
            Self::Uplink => Some(&["silent", "heard"]),
            Self::Config => Some(&["loaded", "refused"]),
            Self::Hook => Some(&["done", "failed", "limited"]),
            Self::BackendState
            | Self::BackendWeight
            | Self::BackendSuspect
            | Self::Priority
            | Self::Scaling => None,
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Event {
    /// What was before, as one word: `none`, if there was nothing.
    #[must_use]
    pub fn before(&self) -> &str {
        self.from.as_deref().unwrap_or("none")
    }

    /// What is now, as one word: `none`, if there is nothing any more.
    #[must_use]
    pub fn now(&self) -> &str {
        self.to.as_deref().unwrap_or("none")
    }

    /// Whether somebody should look: something works less well than before.
    #[must_use]
    pub fn is_bad_news(&self) -> bool {
        let is = |words: &[&str]| words.contains(&self.now());
        match self.kind {
            EventKind::BackendState => is(&["down", "ejected"]),
            EventKind::BackendSuspect => true,
            EventKind::ServiceState | EventKind::Registry => is(&["down"]),
            EventKind::Panic => is(&["on"]),
            EventKind::Uplink => is(&["silent"]),
            EventKind::Config => is(&["refused"]),
            EventKind::Hook => is(&["failed", "limited"]),
            EventKind::BackendWeight | EventKind::Priority | EventKind::Scaling => false,
        }
    }

    /// What it happened to: `SERVICE/ADDRESS`, `SERVICE`, or `lb` where all of it is concerned.
    #[must_use]
    pub fn subject(&self) -> String {
        match (&self.service, &self.backend) {
            (Some(service), Some(backend)) => format!("{service}/{backend}"),
            (Some(service), None) => service.to_string(),
            (None, Some(backend)) => backend.to_string(),
            (None, None) => "lb".to_owned(),
        }
    }
}

/// An event as it is kept and told: a document of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Version of this document.
    pub version: u32,
    /// Which life of the daemon the number belongs to: when it began, in milliseconds since 1970.
    pub epoch: u64,
    /// Its number in that life, counted from 1 without gaps.
    pub sequence: u64,
    /// When it was told, in milliseconds since 1970.
    pub time_milliseconds: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Which events somebody wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this service.
    pub service: Option<ServiceName>,
    /// Only those of backends with this address.
    pub backend: Option<IpAddr>,
}

impl Wanted {
    /// Whether this is one of them.
    #[must_use]
    pub fn includes(&self, event: &Event) -> bool {
        self.service.as_ref().is_none_or(|service| event.service.as_ref() == Some(service))
            && self.backend.is_none_or(|backend| event.backend == Some(backend))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(service: &str, backend: Option<&str>) -> Event {
        Event {
            kind: EventKind::BackendState,
            service: Some(service.parse().expect("a name")),
            backend: backend.map(|address| address.parse().expect("an address")),
            from: Some("up".to_owned()),
            to: Some("down".to_owned()),
            reason: "3 failed checks".to_owned(),
        }
    }

    #[test]
    fn kinds_have_one_word_everywhere() {
        for kind in EventKind::ALL {
            let word = serde_json::to_value(kind).expect("a word");
            assert_eq!(word, kind.name());
        }
    }

    #[test]
    fn what_is_told_is_one_flat_document() {
        let event = event("web", Some("10.0.1.11"));
        let told = Told { version: 1, epoch: 7, sequence: 1, time_milliseconds: 9, event };
        let text = serde_json::to_string(&told).expect("JSON");
        assert_eq!(
            text,
            "{\"version\":1,\"epoch\":7,\"sequence\":1,\"time_milliseconds\":9,\
             \"kind\":\"backend-state\",\"service\":\"web\",\"backend\":\"10.0.1.11\",\
             \"from\":\"up\",\"to\":\"down\",\"reason\":\"3 failed checks\"}"
        );
        assert_eq!(serde_json::from_str::<Told>(&text).expect("the same"), told);
    }

    #[test]
    fn wanted_are_those_of_a_service_a_backend_or_both() {
        let wanted = |service: Option<&str>, backend: Option<&str>| Wanted {
            service: service.map(|name| name.parse().expect("a name")),
            backend: backend.map(|address| address.parse().expect("an address")),
        };
        let event = event("web", Some("10.0.1.11"));
        assert!(wanted(None, None).includes(&event));
        assert!(wanted(Some("web"), Some("10.0.1.11")).includes(&event));
        assert!(!wanted(Some("dns"), Some("10.0.1.11")).includes(&event));
        assert!(!wanted(None, Some("10.0.1.12")).includes(&event));
    }
}
