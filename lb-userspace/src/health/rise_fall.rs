//! From single checks to a judgement that does not flap. Pure: no clock, no I/O.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CheckFailure, Pace};
use crate::model::{InitialState, Thresholds};

/// What checks say about a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// No check has ended yet.
    #[default]
    Unknown,
    /// It works.
    Up,
    /// It does not.
    Down,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// The judgement on one backend. The first check decides at once, unless the check names an initial
/// state; after that it takes `fall` failures in a row to go down and `rise` passes in a row to come
/// up.
///
/// It can be stored as it is, so that a restarted daemon goes on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    state: HealthState,
    since: u64,
    passed_in_row: u32,
    failed_in_row: u32,
    last_failure: Option<String>,
    last_latency: Option<Duration>,
}

/// A change of judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: HealthState,
    /// What it is.
    pub to: HealthState,
    /// Why, as [`Health::explain`] says it.
    pub reason: String,
}

impl Health {
    /// Takes in the end of a check; `now` is in milliseconds since 1970.
    ///
    /// A check that this machine could not make counts for nothing: one load balancer without file
    /// descriptors must not take all backends down.
    pub fn record(
        &mut self,
        outcome: &Result<Duration, CheckFailure>,
        rules: &Thresholds,
        now: u64,
    ) -> Option<Transition> {
        match outcome {
            Ok(latency) => {
                self.passed_in_row = self.passed_in_row.saturating_add(1);
                self.failed_in_row = 0;
                self.last_latency = Some(*latency);
            }
            Err(failure) if failure.is_local() => return None,
            Err(failure) => {
                self.failed_in_row = self.failed_in_row.saturating_add(1);
                self.passed_in_row = 0;
                self.last_failure = Some(failure.to_string());
            }
        }
        let is_fallen = self.failed_in_row >= rules.fall;
        let is_risen = self.passed_in_row >= rules.rise;
        let to = match (self.state, rules.initial) {
            (HealthState::Unknown, InitialState::FirstCheck) if outcome.is_ok() => HealthState::Up,
            (HealthState::Unknown, InitialState::FirstCheck) => HealthState::Down,
            (HealthState::Unknown, InitialState::Up) if outcome.is_ok() => HealthState::Up,
            (HealthState::Unknown, InitialState::Down) if outcome.is_err() => HealthState::Down,
            (HealthState::Up | HealthState::Unknown, _) if is_fallen => HealthState::Down,
            (HealthState::Down | HealthState::Unknown, _) if is_risen => HealthState::Up,
            (state, _) => state,
        };
        (to != self.state).then(|| {
            let from = std::mem::replace(&mut self.state, to);
            self.since = now;
            Transition { from, to, reason: self.explain() }
        })
    }

    /// Failures in a row so far count for nothing.
    pub fn forgive_failures(&mut self) {
        self.failed_in_row = 0;
    }

    /// It did not fail, as it turns out: it is up again.
    pub fn reinstate(&mut self, now: u64) {
        (self.state, self.since) = (HealthState::Up, now);
        self.forgive_failures();
    }

    /// The judgement on a backend that worked when it was last seen, without a check of our own.
    #[must_use]
    pub fn presumed_up(now: u64) -> Self {
        Self { state: HealthState::Up, since: now, ..Self::default() }
    }

    /// The judgement.
    #[must_use]
    pub const fn state(&self) -> HealthState {
        self.state
    }

    /// The judgement, or what a backend is taken for until there is one.
    #[must_use]
    pub const fn presumed(&self, initial: InitialState) -> HealthState {
        match (self.state, initial) {
            (HealthState::Unknown, InitialState::Up) => HealthState::Up,
            (HealthState::Unknown, InitialState::Down) => HealthState::Down,
            (state, _) => state,
        }
    }

    /// How often a backend is to be checked.
    #[must_use]
    pub const fn pace(&self) -> Pace {
        match self.state {
            HealthState::Down if self.passed_in_row > 0 => Pace::Fast,
            HealthState::Down => Pace::Down,
            _ if self.failed_in_row > 0 => Pace::Fast,
            _ => Pace::Normal,
        }
    }

    /// Since when it holds, in milliseconds since 1970; 0 before the first check.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// How long the last check that passed took.
    #[must_use]
    pub const fn last_latency(&self) -> Option<Duration> {
        self.last_latency
    }

    /// What stands behind the judgement, as in "3 failed checks, last: connect was refused".
    #[must_use]
    pub fn explain(&self) -> String {
        let last_failure = self.last_failure.as_deref().unwrap_or("unknown");
        match (self.state, self.failed_in_row, self.passed_in_row) {
            (HealthState::Unknown, ..) => "no check has ended yet".to_owned(),
            (HealthState::Up, 0, 0) if self.last_failure.is_some() => {
                format!("it was up when it was last heard, before: {last_failure}")
            }
            (HealthState::Up, 0, 0) => "it took traffic before it was checked".to_owned(),
            (_, 0, passed) if self.state == HealthState::Up => checks(passed, "passed"),
            (_, 0, passed) => format!("{}, before: {last_failure}", checks(passed, "passed")),
            (_, failed, _) => format!("{}, last: {last_failure}", checks(failed, "failed")),
        }
    }
}

fn checks(count: u32, what: &str) -> String {
    format!("{count} {what} {}", if count == 1 { "check" } else { "checks" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PASS: Result<Duration, CheckFailure> = Ok(Duration::from_millis(2));
    const FAIL: Result<Duration, CheckFailure> =
        Err(CheckFailure::TimedOut(Duration::from_millis(500)));
    const LOCAL: Result<Duration, CheckFailure> = Err(CheckFailure::OutOfDescriptors);

    const fn check(rise: u32, fall: u32) -> Thresholds {
        Thresholds { rise, fall, initial: InitialState::FirstCheck }
    }

    /// States after each of a row of outcomes.
    fn states(outcomes: &[Result<Duration, CheckFailure>], rise: u32, fall: u32) -> String {
        let mut health = Health::default();
        let letter = |outcome| {
            health.record(outcome, &check(rise, fall), 0);
            health.state().to_string().remove(0)
        };
        outcomes.iter().map(letter).collect()
    }

    #[test]
    fn the_first_check_decides() {
        assert_eq!(states(&[PASS], 5, 5), "u");
        assert_eq!(states(&[FAIL], 5, 5), "d");
    }

    #[test]
    fn falls_and_rises_by_rows() {
        let outcomes = [PASS, FAIL, FAIL, PASS, FAIL, FAIL, FAIL, PASS, FAIL, PASS, PASS];
        assert_eq!(states(&outcomes, 2, 3), "uuuuuuddddu");
        assert_eq!(states(&[PASS, FAIL, PASS], 1, 1), "udu");
    }

    #[test]
    fn what_this_machine_could_not_check_counts_for_nothing() {
        let mut health = Health::default();
        assert_eq!(health.record(&LOCAL, &check(1, 1), 5), None);
        assert_eq!(health, Health::default());
        health.record(&PASS, &check(1, 2), 5);
        health.record(&FAIL, &check(1, 2), 6);
        for _ in 0..10 {
            assert_eq!(health.record(&LOCAL, &check(1, 2), 7), None);
        }
        // Nor does it interrupt a row.
        assert!(health.record(&FAIL, &check(1, 2), 8).is_some());
    }

    #[test]
    fn explains_itself() {
        let mut health = Health::default();
        assert_eq!(health.explain(), "no check has ended yet");
        let up = health.record(&PASS, &check(2, 3), 1000).expect("first");
        assert_eq!((up.from, up.to), (HealthState::Unknown, HealthState::Up));
        assert_eq!(up.reason, "1 passed check");
        assert_eq!(health.record(&FAIL, &check(2, 3), 2000), None);
        assert_eq!(health.explain(), "1 failed check, last: connect timed out after 500 ms");
        assert_eq!((health.state(), health.since()), (HealthState::Up, 1000));
        health.record(&FAIL, &check(2, 3), 3000);
        let down = health.record(&FAIL, &check(2, 3), 4000).expect("third in a row");
        assert_eq!(down.reason, "3 failed checks, last: connect timed out after 500 ms");
        assert_eq!((health.state(), health.since()), (HealthState::Down, 4000));
        health.record(&PASS, &check(2, 3), 5000);
        assert_eq!(health.explain(), "1 passed check, before: connect timed out after 500 ms");
        assert_eq!(health.last_latency(), Some(Duration::from_millis(2)));
    }

    #[test]
    fn survives_a_restart() {
        let mut health = Health::default();
        for outcome in [PASS, FAIL, FAIL] {
            health.record(&outcome, &check(2, 3), 9);
        }
        let text = serde_json::to_string(&health).expect("serialized");
        let mut restored: Health = serde_json::from_str(&text).expect("restored");
        assert_eq!(restored, health);
        assert!(restored.record(&FAIL, &check(2, 3), 10).is_some());
    }

    proptest! {
        /// Against the definition: the last turn of the history that was long enough decides.
        #[test]
        fn agrees_with_its_definition(
            history in prop::collection::vec(prop::option::weighted(0.9, any::<bool>()), 0..60),
            rise in 1_u32..5,
            fall in 1_u32..5,
        ) {
            let mut health = Health::default();
            let mut transitions = 0;
            for outcome in &history {
                let outcome = match outcome {
                    Some(true) => PASS,
                    Some(false) => FAIL,
                    None => LOCAL,
                };
                let before = health.state();
                let transition = health.record(&outcome, &check(rise, fall), 1);
                prop_assert_eq!(transition.is_some(), before != health.state());
                transitions += u32::from(transition.is_some());
            }
            let outcomes: Vec<bool> = history.into_iter().flatten().collect();
            let mut expected = HealthState::Unknown;
            for end in 1..=outcomes.len() {
                let last = outcomes[end - 1];
                let row = outcomes[..end].iter().rev().take_while(|pass| **pass == last).count();
                let needed = if last { rise } else { fall };
                if end == 1 || row >= needed as usize {
                    expected = if last { HealthState::Up } else { HealthState::Down };
                }
            }
            prop_assert_eq!(health.state(), expected);
            prop_assert!(transitions as usize <= outcomes.len());
        }
    }
}
