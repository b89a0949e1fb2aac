//! What is done when something happens: programs that are run, webhooks that are called.
//!
//! Each hook has a queue and a task of its own: one that hangs delays neither the daemon, which only
//! puts events in queues, nor the others.

mod counts;
mod queue;
mod rate;
mod run;
#[cfg(test)]
mod testing;
mod webhook;
mod worker;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    event::{Event, Told},
    model::Hook,
};
pub use counts::HookCounts;

use worker::Worker;

/// The hooks in force.
#[derive(Debug)]
pub struct Hooks {
    workers: Vec<Arc<Worker>>,
    reports: mpsc::Sender<Event>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well.
    Done,
    /// Not well, for this reason.
    Failed(String),
    /// Not at all within its time.
    Timeout,
}

impl Hooks {
    /// No hooks yet. What becomes of runs is told to `reports`, as events.
    #[must_use]
    pub const fn new(reports: mpsc::Sender<Event>) -> Self {
        Self { workers: Vec::new(), reports }
    }

    /// Puts other hooks in force. Those that stay as they are keep what they count and what waits
    /// for them; of others runs go on to their end, and what waits is forgotten.
    pub fn replace(&mut self, hooks: &[Hook]) {
        let mut former = std::mem::take(&mut self.workers);
        for hook in hooks {
            let same = former.iter().position(|worker| worker.hook() == hook);
            let worker = match same {
                Some(index) => former.swap_remove(index),
                None => Worker::start(hook.clone(), self.reports.clone()),
            };
            self.workers.push(worker);
        }
        former.iter().for_each(|worker| worker.end());
    }

    /// Lets every hook have what it is for. Never waits.
    pub fn offer(&self, told: &Arc<Told>) {
        self.workers.iter().for_each(|worker| worker.offer(told));
    }

    /// How all of them do.
    #[must_use]
    pub fn counts(&self) -> Vec<HookCounts> {
        self.workers.iter().map(|worker| worker.counts()).collect()
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.workers.iter().for_each(|worker| worker.end());
    }
}

#[cfg(test)]
mod tests;
