//! What a backend says of itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Weight;

/// A weight that a backend or its check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightAdvice {
    /// This weight in place of the configured one.
    Weight(Weight),
    /// So many percent of the configured one, 0 to 100.
    Percent(u8),
}

/// What a backend's agent asks for. It stays until the agent says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentWord {
    /// The state, if it named one.
    pub state: Option<AgentState>,
    /// The weight, if it named one.
    pub weight: Option<WeightAdvice>,
    /// What else it said, cut to what fits on a line.
    pub comment: String,
}

impl fmt::Display for WeightAdvice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(weight) => write!(f, "weight {weight}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for AgentWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.map(|state| format!("{state:?}").to_lowercase());
        let weight = self.weight.map(|weight| weight.to_string());
        let words: Vec<String> = state.into_iter().chain(weight).collect();
        f.write_str(&words.join(", "))?;
        match self.comment.as_str() {
            "" => Ok(()),
            comment => write!(f, " ({comment})"),
        }
    }
}

/// A state that an agent may ask for, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// As checks say.
    Up,
    /// No new flows; those that it has stay.
    Drain,
    /// No traffic.
    Down,
    /// No traffic, as if an operator had taken it out.
    Maint,
}

/// Something that is no word of an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAgentWord {
    /// There is nothing to act on.
    #[error("it said nothing")]
    Nothing,
    /// A word that no agent has.
    #[error("`{0}` is none of up, ready, down, drain, maint, N% and weight N")]
    Unknown(String),
    /// A weight that none can be.
    #[error("`{0}` is no weight: from 0 to 65535, or from 0% to 100%")]
    Weight(String),
    /// Two weights, of which only one can be meant.
    #[error("it named a weight twice")]
    TwoWeights,
}

impl AgentWord {
    /// Understands a line as HAProxy's agents write it: words with spaces, tabs or commas between
    /// them, in letters of any case, and a comment behind the first `#`.
    ///
    /// | Word | Meaning |
    /// |---|---|
    /// | `up`, `ready` | as checks say |
    /// | `drain` | no new flows |
    /// | `down`, `fail`, `failed`, `stopped` | no traffic |
    /// | `maint` | no traffic, as if an operator had taken it out |
    /// | `75%` | so much of the configured weight |
    /// | `weight N`, `weight:N` | this weight |
    /// | `maxconn:N` | nothing: there is no such limit |
    ///
    /// Of several states the strictest holds, as `ready` and `up` only end what was said before.
    ///
    /// # Errors
    /// At the first word that is none of these, and where there is no word at all.
    pub fn parse(line: &str) -> Result<Self, BadAgentWord> {
        let (words, comment) = line.split_once('#').unwrap_or((line, ""));
        let mut said = Self { comment: one_line(comment), ..Self::default() };
        let mut words = words.split([' ', '\t', ',', '\r', '\n']).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let lower = word.to_ascii_lowercase();
            if let Some(state) = state(&lower) {
                said.state = said.state.max(Some(state));
                continue;
            }
            if lower.starts_with("maxconn:") {
                continue;
            }
            let advice = match lower.strip_prefix("weight") {
                Some("" | ":") => absolute(words.next().unwrap_or(word))?,
                Some(rest) if rest.starts_with(':') => absolute(&rest[1..])?,
                _ => percent(&lower, word)?,
            };
            if said.weight.replace(advice).is_some() {
                return Err(BadAgentWord::TwoWeights);
            }
        }
        if said.state.is_none() && said.weight.is_none() {
            return Err(BadAgentWord::Nothing);
        }
        Ok(said)
    }
}

fn state(word: &str) -> Option<AgentState> {
    match word {
        "up" | "ready" => Some(AgentState::Up),
        "drain" => Some(AgentState::Drain),
        "down" | "fail" | "failed" | "stopped" => Some(AgentState::Down),
        "maint" => Some(AgentState::Maint),
        _ => None,
    }
}

fn absolute(number: &str) -> Result<WeightAdvice, BadAgentWord> {
    let weight = digits(number).and_then(|digits| digits.parse().ok()).map(WeightAdvice::Weight);
    weight.ok_or_else(|| BadAgentWord::Weight(one_line(number)))
}

fn percent(lower: &str, word: &str) -> Result<WeightAdvice, BadAgentWord> {
    let number = lower.strip_suffix('%').ok_or_else(|| BadAgentWord::Unknown(one_line(word)))?;
    let percent = digits(number).and_then(|digits| digits.parse().ok()).filter(|p| *p <= 100);
    percent.map(WeightAdvice::Percent).ok_or_else(|| BadAgentWord::Weight(one_line(word)))
}

/// Numbers as the standard library reads them may have a sign; these may not.
fn digits(text: &str) -> Option<&str> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text)
}

/// What somebody else wrote, fit for one line of a log.
fn one_line(text: &str) -> String {
    const SHOWN: usize = 80;
    let is_whole = text.trim().chars().nth(SHOWN).is_none();
    let mut line: String = text.trim().chars().take(SHOWN).collect();
    if line.chars().any(|c| c.is_control()) {
        line = line.escape_debug().to_string();
    }
    if !is_whole {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(state: Option<AgentState>, weight: Option<WeightAdvice>) -> AgentWord {
        AgentWord { state, weight, comment: String::new() }
    }

    #[test]
    fn understands_what_agents_say() {
        use AgentState::{Down, Drain, Maint, Up};
        use WeightAdvice::{Percent, Weight};
        for (line, state, weight) in [
            ("up", Some(Up), None),
            ("READY\n", Some(Up), None),
            ("down", Some(Down), None),
            ("fail\r\n", Some(Down), None),
            ("failed", Some(Down), None),
            ("stopped", Some(Down), None),
            ("drain", Some(Drain), None),
            ("maint", Some(Maint), None),
            ("75%", None, Some(Percent(75))),
            ("up 100%", Some(Up), Some(Percent(100))),
            ("up,0%", Some(Up), Some(Percent(0))),
            ("weight 12\tready", Some(Up), Some(Weight(12))),
            ("weight:65535", None, Some(Weight(65_535))),
            ("weight: 7", None, Some(Weight(7))),
            (" , up ,,\t", Some(Up), None),
            ("ready down", Some(Down), None),
            ("maint up", Some(Maint), None),
            ("down drain", Some(Down), None),
        ] {
            assert_eq!(AgentWord::parse(line), Ok(word(state, weight)), "{line:?}");
        }
    }

    #[test]
    fn keeps_comments() {
        let said = AgentWord::parse("down # disk is full, 99% #2 \r\n").expect("valid");
        assert_eq!((said.state, said.weight), (Some(AgentState::Down), None));
        assert_eq!(said.comment, "disk is full, 99% #2");
        let said = AgentWord::parse("up#a\tb\x1b[31m").expect("valid");
        assert_eq!(said.comment, "a\\tb\\u{1b}[31m");
        let said = AgentWord::parse(&format!("up #{}", "é".repeat(500))).expect("valid");
        assert_eq!(said.comment, format!("{}…", "é".repeat(80)));
    }

    #[test]
    fn quotes_what_it_does_not_understand() {
        for (line, expected) in [
            ("", "it said nothing"),
            (" \r\n", "it said nothing"),
            ("# only a comment", "it said nothing"),
            ("upp", "`upp` is none of up, ready, down, drain, maint, N% and weight N"),
            ("maxconn:3", "it said nothing"),
            ("weights", "`weights` is none of up, ready, down, drain, maint, N% and weight N"),
            ("101%", "`101%` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("-1%", "`-1%` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("+1%", "`+1%` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("%", "`%` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("weight", "`weight` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("weight 65536", "`65536` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("weight:", "`weight:` is no weight: from 0 to 65535, or from 0% to 100%"),
            ("50% weight 3", "it named a weight twice"),
        ] {
            let error = AgentWord::parse(line).expect_err(line);
            assert_eq!(error.to_string(), expected, "{line:?}");
        }
        let Err(BadAgentWord::Unknown(shown)) = AgentWord::parse(&"\u{1}".repeat(10_000)) else {
            panic!("understood");
        };
        assert!(shown.len() < 1_000 && !shown.contains('\u{1}'), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_panics(line in any::<String>()) {
            let _ = AgentWord::parse(&line);
        }

        #[test]
        fn nothing_that_looks_right_panics(
            line in "((up|down|weight|weight:|%|[0-9]{1,6}|[0-9]{1,4}%|#|é|:)[ ,\t]?){0,8}",
        ) {
            if let Ok(said) = AgentWord::parse(&line) {
                prop_assert!(said.state.is_some() || said.weight.is_some());
                if let Some(WeightAdvice::Percent(percent)) = said.weight {
                    prop_assert!(percent <= 100);
                }
            }
        }
    }
}
