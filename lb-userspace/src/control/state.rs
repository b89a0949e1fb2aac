//! A backend's effective state, derived from inputs that never overwrite each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::intents::{Intent, Mode};
use crate::{
    health::{Health, HealthState},
    model::Weight,
};

/// What a backend may do at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It takes new flows.
    Up,
    /// Its checks fail: no traffic.
    Down,
    /// It keeps its flows and takes no new ones.
    Drain,
    /// The operator took it out: no traffic.
    Maint,
    /// Its first check has not ended: no traffic yet.
    Starting,
    /// Backends that come before it serve: it keeps its flows and takes no new ones.
    Standby,
}

impl State {
    /// The word in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Starting => "starting",
            Self::Standby => "standby",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether packets can get to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Its way was known at some time. From then on checks are the better judges.
    Known,
    /// Its way was never known: packets could not be sent.
    Unknown,
    /// Its way is known and of no use to the service, for this reason. Checks do not notice that:
    /// they are ordinary packets, which the way is good enough for.
    Barred(String),
}

/// A state and what it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// What the backend may do.
    pub state: State,
    /// Why, as one phrase.
    pub reason: String,
    /// Its weight if it is up, whatever its state is.
    pub weight: Weight,
}

impl Effective {
    /// Derives the state. `health` is `None` where the service has no check.
    ///
    /// What forbids most comes first: maintenance, then failed checks, then drain. A backend whose
    /// way is barred drains: a route that comes back finds its flows where they were.
    #[must_use]
    pub fn derive(
        configured: Weight,
        intent: Intent,
        health: Option<&Health>,
        reach: Reach,
    ) -> Self {
        let weight = intent.weight.unwrap_or(configured);
        let judgement = health.map_or(HealthState::Up, Health::state);
        let explained = || health.map_or_else(|| "not checked".to_owned(), Health::explain);
        let (state, reason) = match (intent.mode, judgement) {
            (Mode::Maint, _) => (State::Maint, "taken out by the operator".to_owned()),
            (_, HealthState::Down) => (State::Down, explained()),
            (Mode::Drain, _) => (State::Drain, "drained by the operator".to_owned()),
            _ if weight == 0 => (State::Drain, "its weight is 0".to_owned()),
            (_, judgement) => match (reach, judgement) {
                (Reach::Barred(reason), _) => (State::Drain, reason),
                (_, HealthState::Unknown) => (State::Starting, explained()),
                (Reach::Unknown, _) => {
                    (State::Starting, "its next hop is not known yet".to_owned())
                }
                (Reach::Known, _) => (State::Up, explained()),
            },
        };
        Self { state, reason, weight }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        health::CheckFailure,
        model::{CheckKind, HealthCheck},
    };

    fn judged(outcome: Result<Duration, CheckFailure>) -> Health {
        let check = HealthCheck {
            kind: CheckKind::Tcp,
            port: 80,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
        };
        let mut health = Health::default();
        health.record(&outcome, &check, 0);
        health
    }

    fn state(mode: Mode, weight: Option<Weight>, health: Option<&Health>) -> State {
        let intent = Intent { mode, weight, ..Intent::default() };
        Effective::derive(100, intent, health, Reach::Known).state
    }

    #[test]
    fn without_a_next_hop_nothing_starts() {
        let state = |mode| {
            let intent = Intent { mode, ..Intent::default() };
            Effective::derive(100, intent, None, Reach::Unknown).state
        };
        assert_eq!(state(Mode::Ready), State::Starting);
        assert_eq!(state(Mode::Drain), State::Drain);
    }

    #[test]
    fn a_barred_way_keeps_new_flows_out() {
        let up = judged(Ok(Duration::ZERO));
        let down = judged(Err(CheckFailure::ConnectRefused));
        let derive = |health, reach| {
            let effective = Effective::derive(100, Intent::default(), health, reach);
            (effective.state, effective.reason)
        };
        let barred = || Reach::Barred("behind a gateway".to_owned());
        let unchecked = Health::default();
        for health in [None, Some(&up), Some(&unchecked)] {
            let expected = (State::Drain, "behind a gateway".to_owned());
            assert_eq!(derive(health, barred()), expected, "{health:?}");
        }
        assert_eq!(derive(Some(&down), barred()).0, State::Down);
        assert_eq!(derive(Some(&up), Reach::Known).0, State::Up);
    }

    #[test]
    fn what_forbids_most_wins() {
        let up = judged(Ok(Duration::ZERO));
        let down = judged(Err(CheckFailure::ConnectRefused));
        assert_eq!(state(Mode::Ready, None, None), State::Up);
        assert_eq!(state(Mode::Ready, None, Some(&up)), State::Up);
        assert_eq!(state(Mode::Ready, None, Some(&Health::default())), State::Starting);
        assert_eq!(state(Mode::Ready, Some(0), Some(&up)), State::Drain);
        assert_eq!(state(Mode::Drain, None, Some(&up)), State::Drain);
        assert_eq!(state(Mode::Drain, None, Some(&down)), State::Down);
        assert_eq!(state(Mode::Maint, None, Some(&up)), State::Maint);
    }

    #[test]
    fn a_reason_is_always_given() {
        let down = judged(Err(CheckFailure::ConnectRefused));
        let effective = Effective::derive(100, Intent::default(), Some(&down), Reach::Known);
        assert_eq!(effective.reason, "1 failed check, last: connect was refused");
    }
}
