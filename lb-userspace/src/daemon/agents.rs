//! Which agents are heard, for people who ask and for metrics.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Daemon;
use crate::{
    health::{AgentResult, AgentTarget},
    metrics::AgentCounts,
    model::{AgentCheck, BackendName, ServiceName},
};

/// How it went with the agent of each backend.
#[derive(Default)]
pub(super) struct Agents(BTreeMap<BackendName, Agent>);

/// How it went with one agent.
#[derive(Clone)]
pub(super) struct Agent {
    /// The life of the backend that `last` belongs to.
    generation: u64,
    /// When it was last heard, or first not heard in this life.
    last: Instant,
    /// When it was last heard, in seconds since 1970.
    pub(super) heard: Option<u64>,
    /// Why it was not heard the last time.
    pub(super) failure: Option<String>,
    counts: AgentCounts,
}

/// Intervals without a word, and the time at least, after which somebody should look.
const INTERVALS: u32 = 10;
const LEAST: Duration = Duration::from_secs(10);

impl Agents {
    /// Takes in what came of a question; `wall` is in seconds since 1970.
    pub(super) fn add(&mut self, result: &AgentResult, at: Instant, wall: u64) {
        let generation = result.generation;
        let fresh = || Agent {
            generation,
            last: at,
            heard: None,
            failure: None,
            counts: AgentCounts::default(),
        };
        let agent = self.0.entry(result.backend.clone()).or_insert_with(fresh);
        if agent.generation != generation {
            *agent = Agent { counts: agent.counts, ..fresh() };
        }
        match &result.word {
            Ok(_) => {
                (agent.last, agent.heard, agent.failure) = (at, Some(wall), None);
                agent.counts.heard += 1;
            }
            Err(error) => {
                agent.failure = Some(error.to_string());
                agent.counts.failed += 1;
            }
        }
    }

    /// How it went with a backend's agent; `None` before the first question has ended.
    pub(super) fn of(&self, backend: &BackendName) -> Option<&Agent> {
        self.0.get(backend)
    }

    /// How often a backend's agent was heard and not heard.
    pub(super) fn counts(&self, backend: &BackendName) -> AgentCounts {
        self.0.get(backend).map(|agent| agent.counts).unwrap_or_default()
    }

    /// Forgets backends that have no agent any more.
    pub(super) fn retain(&mut self, has_agent: impl Fn(&BackendName) -> bool) {
        self.0.retain(|backend, _| has_agent(backend));
    }

    /// What is wrong, a sentence for each service: a network that is down silences all of them.
    fn problems(&self, targets: &[AgentTarget], now: Instant) -> Vec<String> {
        let mut silent: BTreeMap<&ServiceName, Vec<(&BackendName, &Agent)>> = BTreeMap::new();
        for AgentTarget { backend, generation, agent: check, .. } in targets {
            let agent = self.0.get(backend).filter(|agent| agent.generation == *generation);
            if let Some(agent) = agent.filter(|agent| agent.is_silent(check, now)) {
                silent.entry(&backend.service).or_default().push((backend, agent));
            }
        }
        let problem = |(service, silent): (&ServiceName, Vec<(&BackendName, &Agent)>)| {
            let (backend, agent) = silent.first()?;
            let others = match silent.len() - 1 {
                0 => String::new(),
                others => format!(", nor those of {others} others of `{service}`"),
            };
            let seconds = now.saturating_duration_since(agent.last).as_secs();
            let failure = agent.failure.as_deref().unwrap_or("it says nothing");
            Some(format!(
                "the agent of `{backend}` has not been heard for {seconds} s{others}: {failure}; \
                 what it said last stays in force"
            ))
        };
        silent.into_iter().filter_map(problem).collect()
    }
}

impl Agent {
    fn is_silent(&self, check: &AgentCheck, now: Instant) -> bool {
        let patience = check.interval.saturating_mul(INTERVALS).max(LEAST);
        self.failure.is_some() && now.saturating_duration_since(self.last) >= patience
    }
}

impl Daemon {
    /// Agents that have not been heard for long.
    pub(super) fn agent_problems(&self) -> Vec<String> {
        self.agents.problems(&self.control.agent_targets(), Instant::now())
    }

    /// How often a backend's agent was heard and not heard; `None` where there is none.
    pub(super) fn agent_counts(&self, backend: &BackendName) -> Option<AgentCounts> {
        self.has_agent(backend).then(|| self.agents.counts(backend))
    }

    /// Whether a backend's service asks agents.
    pub(super) fn has_agent(&self, backend: &BackendName) -> bool {
        let service = self.control.services().get(&backend.service);
        service.is_some_and(|service| service.agent_check.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{AgentWord, CheckFailure};

    fn target(generation: u64) -> AgentTarget {
        AgentTarget {
            backend: "web/10.0.1.11".parse().expect("a name"),
            generation,
            agent: AgentCheck {
                port: 5555,
                address: None,
                send: Vec::new(),
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(1),
            },
            destination: "10.0.1.11:5555".parse().expect("an address"),
        }
    }

    fn result(target: &AgentTarget, is_heard: bool) -> AgentResult {
        let word =
            if is_heard { Ok(AgentWord::default()) } else { Err(CheckFailure::ConnectRefused) };
        AgentResult { backend: target.backend.clone(), generation: target.generation, word }
    }

    #[test]
    fn an_agent_that_is_silent_for_ten_intervals_is_a_problem() {
        let (begin, target) = (Instant::now(), target(1));
        let after = |seconds| begin + Duration::from_secs(seconds);
        let problems = |agents: &Agents, seconds| {
            agents.problems(std::slice::from_ref(&target), after(seconds))
        };
        let mut agents = Agents::default();
        agents.add(&result(&target, true), begin, 1_795_000_000);
        agents.add(&result(&target, false), after(2), 1_795_000_002);
        let agent = agents.of(&target.backend).expect("known");
        assert_eq!(agent.heard, Some(1_795_000_000));
        assert!(agent.failure.is_some());
        assert!(problems(&agents, 19).is_empty());
        let told = problems(&agents, 20);
        assert!(told[0].contains("`web/10.0.1.11` has not been heard for 20 s"), "{told:?}");
        agents.add(&result(&target, true), after(21), 1_795_000_021);
        assert!(problems(&agents, 300).is_empty(), "nobody knows that it is silent");
        let counts = agents.counts(&target.backend);
        assert_eq!((counts.heard, counts.failed), (2, 1));
    }

    #[test]
    fn another_life_begins_anew() {
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut agents = Agents::default();
        agents.add(&result(&target(1), false), begin, 0);
        assert!(agents.problems(&[target(2)], after(100)).is_empty());
        agents.add(&result(&target(2), false), after(100), 100);
        assert!(agents.problems(&[target(2)], after(101)).is_empty());
        assert_eq!(agents.problems(&[target(2)], after(120)).len(), 1);
        assert_eq!(agents.counts(&target(2).backend).failed, 2, "what was counted stays");
        agents.retain(|_| false);
        assert!(agents.of(&target(2).backend).is_none());
    }
}
