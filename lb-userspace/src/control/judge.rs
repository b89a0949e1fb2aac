//! Taking in what checks and agents found.

use std::time::Duration;

use super::{Control, Moment, Observations, uplink::Hearing};
use crate::{
    health::{AgentResult, CheckFailure, CheckResult, HealthState, WeightAdvice},
    model::{BackendName, Probe, UdpProbe},
    netlink::Via,
};

/// Something that was found out about backends.
#[derive(Clone, Debug)]
pub enum Input {
    /// The end of a check.
    Checked(CheckResult),
    /// An agent's answer, or that there was none.
    Asked(AgentResult),
    /// What traffic and checks showed in a period that has ended.
    Observed(Observations),
    /// Whether no interface by which packets come in has a link.
    Unplugged(bool),
}

/// How soon what was found is to come into force, by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing has changed.
    None,
    /// Something got better: it may be gathered with others of its kind.
    Better,
    /// Something got worse.
    Worse,
}

impl Control {
    /// Takes in what was found out. [`Control::step`] puts it in force.
    pub fn take(&mut self, input: &Input, at: Moment) -> Urgency {
        match input {
            Input::Checked(result) if self.judge(result, at) => match &result.outcome {
                Ok(_) => Urgency::Better,
                Err(_) => Urgency::Worse,
            },
            Input::Asked(result) if self.hear_agent(result) => Urgency::Worse,
            Input::Observed(observations) if self.observe(observations, at) => Urgency::Worse,
            Input::Unplugged(is_unplugged) => {
                self.unplugged(*is_unplugged, at.wall);
                Urgency::Better
            }
            // Nobody's state changes then, but it is to be told.
            _ if self.is_cut_off() != self.told_cut_off => Urgency::Better,
            _ => Urgency::None,
        }
    }

    /// Takes in the end of a check. True if it changes the judgement, or the weight that the backend
    /// asks for. A result that belongs to a backend's former life counts for nothing.
    pub fn judge(&mut self, result: &CheckResult, at: Moment) -> bool {
        let CheckResult { backend, generation, outcome, weight } = result;
        if self.generations.get(backend) != Some(generation) {
            return false;
        }
        let service = self.services.get(&backend.service);
        let Some(service) = service else { return false };
        let Some(check) = service.check_of(&backend.address) else { return false };
        let mut rules = check.thresholds();
        if self.returns.is_on_trial(backend, &service.recovery, at.clock) {
            rules.fall = 1;
        }
        if matches!(outcome, Err(failure) if failure.is_local()) {
            return false;
        }
        let hearing = self.hearing(backend, &check.probe, outcome);
        if !self.is_blamed(backend, hearing, at.wall) {
            rules.fall = u32::MAX;
        }
        let is_advised = outcome.is_ok() && self.advise(backend, *weight);
        let health = self.health.entry(backend.clone()).or_default();
        let transition = health.record(outcome, &rules, at.wall);
        match &transition {
            Some(it) if it.to == HealthState::Up => self.came_up(),
            Some(it) if it.from == HealthState::Up && hearing == Hearing::Silence => {
                self.fell_silent(backend);
            }
            _ => {}
        }
        transition.is_some() || is_advised
    }

    /// What a check says of the network. One that passes without an answer says nothing, nor does a
    /// program, nor a backend that is this machine.
    fn hearing(
        &self,
        backend: &BackendName,
        probe: &Probe,
        outcome: &Result<Duration, CheckFailure>,
    ) -> Hearing {
        let is_here = self.reached.get(&backend.address) == Some(&Via::Here);
        match (probe, outcome) {
            _ if is_here => Hearing::Unknown,
            (Probe::Exec(_), _) => Hearing::Unknown,
            (Probe::Udp(UdpProbe { expect: None, .. }), Ok(_)) => Hearing::Unknown,
            (_, Err(failure)) if failure.is_silent() => Hearing::Silence,
            _ => Hearing::Answer,
        }
    }

    /// The life of a backend that results must belong to; `None` if it is not asked anything.
    #[must_use]
    pub fn generation(&self, backend: &BackendName) -> Option<u64> {
        self.generations.get(backend).copied()
    }

    /// Whether a backend is back on trial.
    #[must_use]
    pub fn is_on_trial(&self, backend: &BackendName) -> bool {
        let service = self.services.get(&backend.service);
        service.is_some_and(|it| self.returns.is_on_trial(backend, &it.recovery, self.now))
    }

    /// Takes in the weight that a check which passed asks for.
    fn advise(&mut self, backend: &BackendName, weight: Option<WeightAdvice>) -> bool {
        let before = match weight {
            Some(weight) => self.advice.insert(backend.clone(), weight),
            None => self.advice.remove(backend),
        };
        before != weight
    }

    /// Takes in what an agent said. What it said last stays while it is not heard.
    fn hear_agent(&mut self, result: &AgentResult) -> bool {
        let service = self.services.get(&result.backend.service);
        let has_agent = service.is_some_and(|service| service.agent_check.is_some());
        if !has_agent || self.generations.get(&result.backend) != Some(&result.generation) {
            return false;
        }
        let Ok(said) = &result.word else { return false };
        let known = self.agents.entry(result.backend.clone()).or_default();
        let before = known.clone();
        // What it does not name stays: it says `75%` each second, and `drain` once.
        known.state = said.state.or(known.state);
        known.weight = said.weight.or(known.weight);
        known.comment.clone_from(&said.comment);
        (known.state, known.weight) != (before.state, before.weight)
    }
}
