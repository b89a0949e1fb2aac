//! What checks, agents and clients' connections show of backends.

use std::time::{Duration, Instant};

use super::{Daemon, now};
use crate::{
    control::{Input, Urgency},
    health::{AgentResult, CheckResult},
};

/// Time in which changes of health are gathered into one change of tables. Failures are urgent;
/// what comes up, at the start above all, comes up together.
const GATHER_DOWN: Duration = Duration::from_millis(10);
const GATHER_UP: Duration = Duration::from_millis(100);

impl Daemon {
    pub(super) fn take_check(&mut self, result: CheckResult) {
        if self.control.generation(&result.backend) != Some(result.generation) {
            // It is about a former life of the backend, which may not even be checked any more.
            return;
        }
        self.checks.entry(result.backend.clone()).or_default().record(&result.outcome);
        self.note_latency(&result);
        self.note_check(&result);
        self.check_log.add(&result, now());
        let backend = result.backend.clone();
        self.take(&Input::Checked(result));
        self.checker.set_pace(&backend, self.control.pace(&backend));
    }

    pub(super) fn take_agent(&mut self, result: AgentResult) {
        if self.control.generation(&result.backend) != Some(result.generation) {
            return;
        }
        match &result.word {
            Ok(word) => tracing::debug!(backend = %result.backend, ?word, "an agent spoke"),
            Err(error) => {
                tracing::debug!(backend = %result.backend, %error, "an agent was not heard");
            }
        }
        self.agents.add(&result, Instant::now(), now() / 1000);
        self.take(&Input::Asked(result));
    }

    /// Takes in what was found out, to be in force soon.
    pub(super) fn take(&mut self, input: &Input) {
        let at = self.moment();
        let gather = match self.control.take(input, at) {
            Urgency::None => return,
            Urgency::Better => GATHER_UP,
            Urgency::Worse => GATHER_DOWN,
        };
        let at = Instant::now() + gather;
        self.apply_at = Some(self.apply_at.map_or(at, |earlier| earlier.min(at)));
    }
}
