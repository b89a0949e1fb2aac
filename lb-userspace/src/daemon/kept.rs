//! What is written down now and then, besides what must be there at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{task::JoinHandle, time::timeout};

use super::{Daemon, memory::HistoryFile};
use crate::control::Asked;

/// What is written down now and then.
pub(super) struct Kept {
    /// What backends asked for as it was last written down, without comments.
    asked: Asked,
    /// Whether they may ask for something else.
    is_asked_due: bool,
    /// When what was learned was last written down.
    history_at: Instant,
    writing: Option<JoinHandle<()>>,
}

/// What is learned changes slowly, and what is lost of it is learned again.
const HISTORY_EVERY: Duration = Duration::from_secs(600);
/// Longest time that the daemon stays for what it learned when it is to stop.
const STAY: Duration = Duration::from_secs(5);

impl Kept {
    /// Begins with what is written down.
    pub(super) fn new(asked: Asked) -> Self {
        Self {
            asked: without_comments(asked),
            is_asked_due: false,
            history_at: Instant::now(),
            writing: None,
        }
    }

    /// Takes in that backends may ask for something else.
    pub(super) const fn ask_again(&mut self) {
        self.is_asked_due = true;
    }

    /// Whether what backends ask for must be written down: states or weights are not the same any
    /// more.
    fn is_news(&mut self, asked: &Asked) -> bool {
        let asked = without_comments(asked.clone());
        let is_news = asked != self.asked;
        self.asked = asked;
        is_news
    }

    fn is_writing(&self) -> bool {
        self.writing.as_ref().is_some_and(|task| !task.is_finished())
    }
}

/// A comment may be another one each second, as the load of a machine is.
fn without_comments(mut asked: Asked) -> Asked {
    asked.agents.values_mut().for_each(|word| word.comment.clear());
    asked
}

impl Daemon {
    /// Writes down what has changed; called once a second.
    pub(super) fn keep(&mut self) {
        self.keep_asked();
        if self.kept.history_at.elapsed() >= HISTORY_EVERY && !self.kept.is_writing() {
            self.kept.history_at = Instant::now();
            self.kept.writing = self.write_history();
        }
    }

    /// Writes down what is not yet, and waits for it a while: the daemon stops.
    pub(super) async fn keep_all(&mut self) {
        self.keep_asked();
        let before = self.kept.writing.take();
        let write = async {
            if let Some(before) = before {
                // It has said what went wrong.
                let _ = before.await;
            }
            if let Some(last) = self.write_history() {
                let _ = last.await;
            }
        };
        if timeout(STAY, write).await.is_err() {
            tracing::warn!("what was learned could not be written down in time");
        }
    }

    fn keep_asked(&mut self) {
        if std::mem::take(&mut self.kept.is_asked_due) {
            let asked = self.control.asked();
            if self.kept.is_news(&asked) {
                self.remember("asked", |state, _| state.set_asked(&asked));
            }
        }
    }

    /// Begins to write down what was learned, if anything is. It can be much, so the events do not
    /// wait for it.
    fn write_history(&self) -> Option<JoinHandle<()>> {
        let history = self.control.history();
        if history.is_empty() {
            return None;
        }
        let history: BTreeMap<_, _> =
            history.into_iter().map(|(name, learned)| (name.clone(), learned.clone())).collect();
        let file: HistoryFile = self.state.history();
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = file.set(&history) {
                tracing::error!(%error, "what was learned cannot be written down");
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{AgentWord, WeightAdvice};

    #[test]
    fn a_comment_is_not_worth_a_file() {
        let asked = |percent, comment: &str| {
            let weight = Some(WeightAdvice::Percent(percent));
            let word = AgentWord { weight, comment: comment.to_owned(), ..AgentWord::default() };
            let backend = "web/10.0.1.11".parse().expect("a name");
            Asked { agents: BTreeMap::from([(backend, word)]), ..Asked::default() }
        };
        let mut kept = Kept::new(asked(75, "load 1.5"));
        assert!(!kept.is_news(&asked(75, "load 1.6")));
        assert!(kept.is_news(&asked(50, "load 1.6")));
        assert!(!kept.is_news(&asked(50, "load 2.5")));
    }
}
