//! Events for tests.

use std::sync::Arc;

use crate::event::{Event, EventKind, Told};

/// A backend of `web` that comes into a state.
pub(super) fn told(sequence: u64, backend: &str, to: &str) -> Arc<Told> {
    let from = if to == "up" { "down" } else { "up" };
    Arc::new(Told {
        version: 1,
        epoch: 7,
        sequence,
        time_milliseconds: 1_795_000_000_250,
        event: Event {
            kind: EventKind::BackendState,
            service: Some("web".parse().expect("a name")),
            backend: Some(backend.parse().expect("an address")),
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            reason: "3 failed checks,\nlast: connect was refused".to_owned(),
        },
    })
}
