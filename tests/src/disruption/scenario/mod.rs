//! Scenarios: what a network looks like, what happens to it, and what may come of it.
//!
//! A file has one statement a line; `#` begins a comment. `docs/disruption.md` describes each.

mod action;
mod parse;
mod settings;
#[cfg(test)]
mod tests;
mod words;

use std::{fmt, fs, path::Path, time::Duration};

pub use action::{Action, Backend, Balancer};
pub use parse::parse;
pub use settings::{Checks, Expectations, Families, Settings};

/// A scenario that makes sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// The network and its traffic.
    pub settings: Settings,
    /// What happens, in the order of its times.
    pub steps: Vec<Step>,
    /// What may come of it.
    pub expectations: Expectations,
}

/// Something that happens at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From the moment when all flows are open. What takes longer than the time to the next step
    /// moves all that follows.
    pub at: Duration,
    /// The line that says so, from 1.
    pub line: usize,
    /// What happens.
    pub action: Action,
}

/// Which of the two versions of a scenario is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// As the file says.
    Full,
    /// With what its `short` lines say instead.
    Short,
}

/// Why a text is no scenario.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct ScenarioError {
    /// Where the text is from.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// In one sentence: it cannot be read, or what is wrong in which line.
    pub fn read(path: &Path, size: Size) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("{name}: cannot be read: {error}"))?;
        Ok(parse(&name, &text, size)?)
    }

    /// The highest number of a backend that takes part at any time.
    #[must_use]
    pub fn last_backend(&self) -> u8 {
        let named = self.steps.iter().filter_map(|step| step.action.backend());
        named.map(|backend| backend.0).chain([self.settings.backends]).max().unwrap_or_default()
    }

    /// The time of the last step.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.steps.last().map_or(Duration::ZERO, |step| step.at)
    }
}

impl fmt::Display for Scenario {
    /// A file that says the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.settings)?;
        for step in &self.steps {
            writeln!(f, "at {} {}", words::Time(step.at), step.action)?;
        }
        write!(f, "{}", self.expectations)
    }
}
