//! The last checks of each backend, for people who ask why.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    api::protocol::CheckItem,
    health::{CheckFailure, CheckResult, PASSED},
    model::BackendName,
};

/// Checks of a backend that are kept.
const KEPT: usize = 10;

/// The last checks of each backend.
#[derive(Default)]
pub(super) struct CheckLog(BTreeMap<BackendName, VecDeque<Entry>>);

struct Entry {
    /// In milliseconds since 1970.
    at: u64,
    outcome: Result<Duration, CheckFailure>,
}

impl CheckLog {
    /// Takes in the end of a check; `at` is in milliseconds since 1970.
    pub(super) fn add(&mut self, result: &CheckResult, at: u64) {
        let log = self.0.entry(result.backend.clone()).or_default();
        log.truncate(KEPT - 1);
        log.push_front(Entry { at, outcome: result.outcome.clone() });
    }

    /// Forgets backends that are not checked any more.
    pub(super) fn retain(&mut self, is_checked: impl Fn(&BackendName) -> bool) {
        self.0.retain(|name, _| is_checked(name));
    }

    /// The last checks of a backend, the latest first.
    pub(super) fn of(&self, backend: &BackendName) -> Vec<CheckItem> {
        self.0.get(backend).into_iter().flatten().map(item).collect()
    }
}

fn item(Entry { at, outcome }: &Entry) -> CheckItem {
    let (code, milliseconds, failure) = match outcome {
        Ok(took) => (PASSED, Some(took.as_secs_f64() * 1000.0), None),
        Err(failure) => (failure.code(), None, Some(failure.to_string())),
    };
    CheckItem { at: *at, code: code.to_owned(), milliseconds, failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_come_first_and_old_ones_are_forgotten() {
        let mut log = CheckLog::default();
        let backend: BackendName = "web/10.0.1.11".parse().expect("a name");
        for at in 0..25 {
            let outcome =
                if at % 2 == 0 { Ok(Duration::ZERO) } else { Err(CheckFailure::ConnectRefused) };
            let result =
                CheckResult { backend: backend.clone(), generation: 1, outcome, weight: None };
            log.add(&result, at);
        }
        let kept: Vec<u64> = log.of(&backend).iter().map(|check| check.at).collect();
        assert_eq!(kept, [24, 23, 22, 21, 20, 19, 18, 17, 16, 15]);
        assert_eq!(log.of(&backend)[1].code, "L4CON");
        log.retain(|_| false);
        assert!(log.of(&backend).is_empty());
    }
}
