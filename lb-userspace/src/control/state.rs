//! A backend's effective state, derived from inputs that never overwrite each other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    intents::{Intent, Mode},
    returns::Share,
};
use crate::{
    health::{AgentState, AgentWord, Health, HealthState, WeightAdvice},
    model::{InitialState, Weight},
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
    /// Its traffic shows that it does not work: it keeps its flows and takes no new ones for a while.
    Ejected,
    /// It is not well, but so few are that all serve: it takes new flows.
    Panic,
}

impl State {
    /// Whether a backend in this state takes new flows.
    #[must_use]
    pub const fn takes_flows(self) -> bool {
        matches!(self, Self::Up | Self::Panic)
    }

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
            Self::Ejected => "ejected",
            Self::Panic => "panic",
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
    /// Whether nothing but its health keeps it from taking flows, as far as others can tell: what it
    /// says of itself is not doubted.
    pub is_out_for_health: bool,
}

/// All that decides on a backend. None of it ever overwrites another.
#[derive(Clone, Debug)]
pub(super) struct Inputs<'a> {
    /// Weight by the configuration or the registry.
    pub(super) configured: Weight,
    /// What operators have said.
    pub(super) intent: Intent,
    /// What checks have found; `None` where it is not checked.
    pub(super) health: Option<&'a Health>,
    /// What it is taken for before that.
    pub(super) initial: InitialState,
    /// The weight that its check asks for.
    pub(super) advice: Option<WeightAdvice>,
    /// What its agent asks for.
    pub(super) agent: Option<&'a AgentWord>,
    /// Whether packets get there.
    pub(super) reach: Reach,
    /// Why it is ejected by what its traffic shows.
    pub(super) ejected: Option<String>,
    /// Why it stays out though it is well again.
    pub(super) held: Option<String>,
    /// Parts of its weight that it has at present.
    pub(super) shares: Vec<Share>,
}

impl Effective {
    /// Derives the state.
    ///
    /// What forbids most comes first: maintenance, then failed checks, then drain, then what traffic
    /// shows. A backend whose way is barred drains: a route that comes back finds its flows where they
    /// were.
    #[must_use]
    pub(super) fn derive(inputs: Inputs<'_>) -> Self {
        let weight = inputs.weight();
        let (state, reason) =
            inputs.out().or_else(|| inputs.unready(weight)).unwrap_or_else(|| {
                let shares = inputs.shares.iter();
                let shares =
                    shares.map(|Share { percent, reason }| format!("{percent} %: {reason}"));
                let parts: Vec<String> = std::iter::once(inputs.checked()).chain(shares).collect();
                (State::Up, parts.join("; "))
            });
        let is_health = matches!(state, State::Down | State::Ejected);
        let says_so = inputs.agent.is_some_and(|word| word.state == Some(AgentState::Down));
        let is_out_for_health = is_health
            && !says_so
            && inputs.intent.mode == Mode::Ready
            && weight > 0
            && inputs.reach == Reach::Known
            && inputs.agent.is_none_or(|word| word.state != Some(AgentState::Drain));
        let weight = inputs.shares.iter().fold(weight, |weight, share| part(weight, share.percent));
        Self { state, reason, weight, is_out_for_health }
    }
}

impl Inputs<'_> {
    /// The whole weight: the operator's wins over what the backend asks for, and that over the
    /// configured one; a part that it asks for is one of either.
    fn weight(&self) -> Weight {
        let said = [self.advice, self.agent.and_then(|word| word.weight)];
        let asked = said.iter().flatten().find_map(|advice| match advice {
            WeightAdvice::Weight(weight) => Some(*weight),
            WeightAdvice::Percent(_) => None,
        });
        let whole = self.intent.weight.or(asked).unwrap_or(self.configured);
        said.iter().flatten().fold(whole, |weight, advice| match advice {
            WeightAdvice::Percent(percent) => part(weight, *percent),
            WeightAdvice::Weight(_) => weight,
        })
    }

    /// What checks say, in words.
    fn checked(&self) -> String {
        self.health.map_or_else(|| "not checked".to_owned(), Health::explain)
    }

    /// What keeps it from all traffic, or from new flows whatever its health is.
    fn out(&self) -> Option<(State, String)> {
        let judgement = self.health.map_or(HealthState::Up, |it| it.presumed(self.initial));
        let word = self.agent.and_then(|word| word.state);
        let agent = |asks: &str| {
            let comment = self.agent.map_or("", |word| word.comment.as_str());
            let comment = if comment.is_empty() { String::new() } else { format!(": {comment}") };
            format!("its agent asks for {asks}{comment}")
        };
        if self.intent.mode == Mode::Maint {
            Some((State::Maint, "taken out by the operator".to_owned()))
        } else if word == Some(AgentState::Maint) {
            Some((State::Maint, agent("maintenance")))
        } else if judgement == HealthState::Down {
            Some((State::Down, self.checked()))
        } else if word == Some(AgentState::Down) {
            Some((State::Down, agent("no traffic")))
        } else if self.intent.mode == Mode::Drain {
            Some((State::Drain, "drained by the operator".to_owned()))
        } else if word == Some(AgentState::Drain) {
            Some((State::Drain, agent("no new flows")))
        } else {
            None
        }
    }

    /// What keeps it from new flows at present.
    fn unready(&self, weight: Weight) -> Option<(State, String)> {
        let judgement = self.health.map_or(HealthState::Up, |it| it.presumed(self.initial));
        if weight == 0 {
            let asks = self.weight_is_asked_for();
            let reason = if asks { "it asks for a weight of 0" } else { "its weight is 0" };
            return Some((State::Drain, reason.to_owned()));
        }
        match (&self.reach, judgement) {
            (Reach::Barred(reason), _) => Some((State::Drain, reason.clone())),
            (_, HealthState::Unknown) => Some((State::Starting, self.checked())),
            (Reach::Unknown, _) => {
                Some((State::Starting, "its next hop is not known yet".to_owned()))
            }
            (Reach::Known, _) => match (&self.ejected, &self.held) {
                (Some(reason), _) => Some((State::Ejected, reason.clone())),
                (None, Some(reason)) => Some((State::Down, reason.clone())),
                (None, None) => None,
            },
        }
    }

    fn weight_is_asked_for(&self) -> bool {
        self.intent.weight.unwrap_or(self.configured) > 0
    }
}

/// A part of a weight. Of what is anything at all, something is left of each part but nothing.
fn part(weight: Weight, percent: u8) -> Weight {
    let whole = u32::from(weight) * u32::from(percent);
    // At most the weight: parts are up to 100 %.
    whole.div_ceil(100).min(u32::from(weight)) as Weight
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{health::CheckFailure, model::Thresholds};

    fn judged(outcome: Result<Duration, CheckFailure>) -> Health {
        let rules = Thresholds { rise: 1, fall: 1, initial: InitialState::FirstCheck };
        let mut health = Health::default();
        health.record(&outcome, &rules, 0);
        health
    }

    fn inputs(health: Option<&Health>) -> Inputs<'_> {
        Inputs {
            configured: 100,
            intent: Intent::default(),
            health,
            initial: InitialState::FirstCheck,
            advice: None,
            agent: None,
            reach: Reach::Known,
            ejected: None,
            held: None,
            shares: Vec::new(),
        }
    }

    fn state(mode: Mode, weight: Option<Weight>, health: Option<&Health>) -> State {
        let intent = Intent { mode, weight, ..Intent::default() };
        Effective::derive(Inputs { intent, ..inputs(health) }).state
    }

    #[test]
    fn without_a_next_hop_nothing_starts() {
        let state = |mode| {
            let intent = Intent { mode, ..Intent::default() };
            Effective::derive(Inputs { intent, reach: Reach::Unknown, ..inputs(None) }).state
        };
        assert_eq!(state(Mode::Ready), State::Starting);
        assert_eq!(state(Mode::Drain), State::Drain);
    }

    #[test]
    fn a_barred_way_keeps_new_flows_out() {
        let up = judged(Ok(Duration::ZERO));
        let down = judged(Err(CheckFailure::ConnectRefused));
        let derive = |health, reach| {
            let effective = Effective::derive(Inputs { reach, ..inputs(health) });
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
        let effective = Effective::derive(inputs(Some(&down)));
        assert_eq!(effective.reason, "1 failed check, last: connect was refused");
    }

    #[test]
    fn an_agent_asks_and_nobody_else_undoes_it() {
        let up = judged(Ok(Duration::ZERO));
        let derive = |word: AgentWord, intent: Intent| {
            let effective =
                Effective::derive(Inputs { agent: Some(&word), intent, ..inputs(Some(&up)) });
            (effective.state, effective.weight)
        };
        let says = |state| AgentWord { state: Some(state), ..AgentWord::default() };
        let ready = Intent::default();
        assert_eq!(derive(says(AgentState::Down), ready).0, State::Down);
        assert_eq!(derive(says(AgentState::Drain), ready).0, State::Drain);
        assert_eq!(derive(says(AgentState::Maint), ready).0, State::Maint);
        assert_eq!(derive(says(AgentState::Up), ready).0, State::Up);
        let drained = Intent { mode: Mode::Drain, ..ready };
        assert_eq!(derive(says(AgentState::Up), drained).0, State::Drain, "only the operator's");

        let asks = |weight| AgentWord { weight: Some(weight), ..AgentWord::default() };
        assert_eq!(derive(asks(WeightAdvice::Percent(30)), ready), (State::Up, 30));
        assert_eq!(derive(asks(WeightAdvice::Weight(7)), ready), (State::Up, 7));
        assert_eq!(derive(asks(WeightAdvice::Weight(0)), ready).0, State::Drain);
        let weighed = Intent { weight: Some(50), ..ready };
        assert_eq!(derive(asks(WeightAdvice::Weight(7)), weighed).1, 50, "the operator's wins");
        assert_eq!(derive(asks(WeightAdvice::Percent(30)), weighed).1, 15, "a part of it");
    }

    #[test]
    fn what_is_known_before_the_first_check_may_be_configured() {
        let unchecked = Health::default();
        let state =
            |initial| Effective::derive(Inputs { initial, ..inputs(Some(&unchecked)) }).state;
        assert_eq!(state(InitialState::FirstCheck), State::Starting);
        assert_eq!(state(InitialState::Up), State::Up);
        assert_eq!(state(InitialState::Down), State::Down);
    }

    #[test]
    fn a_part_of_a_weight_is_something() {
        assert_eq!([part(100, 5), part(1, 5), part(65_535, 100), part(10, 0)], [5, 1, 65_535, 0]);
    }
}
