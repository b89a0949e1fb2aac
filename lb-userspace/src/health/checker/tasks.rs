//! A task for each target.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Duration, Instant, sleep_until},
};

use super::{
    Pace,
    guard::guarded,
    job::{Job, Means},
    leave::Leave,
    meter::Meter,
    permits::Permits,
    rhythm::Rhythm,
};
use crate::{health::CheckFailure, model::BackendName};

/// What all tasks share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) means: Arc<Means>,
    pub(super) permits: Permits,
    pub(super) meter: Arc<Meter>,
    /// All intervals are counted from here.
    pub(super) epoch: Instant,
}

/// The tasks of one kind. They end with it.
#[derive(Debug)]
pub(super) struct Tasks<J: Job> {
    common: Common,
    results: mpsc::Sender<J::Result>,
    running: BTreeMap<BackendName, Running<J>>,
}

#[derive(Debug)]
struct Running<J> {
    job: J,
    pace: watch::Sender<Pace>,
    leave: Arc<Leave>,
    task: AbortHandle,
}

impl<J: Job> Tasks<J> {
    /// Time within which a new target is checked first, unless there are many.
    pub(super) const SOON: Duration = Duration::from_millis(100);
    /// What of that each of many new targets is given, so that a start is no burst.
    const EACH: Duration = Duration::from_micros(200);

    pub(super) const fn new(common: Common, results: mpsc::Sender<J::Result>) -> Self {
        Self { common, results, running: BTreeMap::new() }
    }

    /// Starts what is new, stops what is gone, leaves alone what is equal.
    pub(super) fn reconcile(&mut self, jobs: Vec<J>) {
        let mut before = std::mem::take(&mut self.running);
        let mut new = Vec::new();
        for job in jobs {
            let name = job.backend();
            if self.running.contains_key(name) {
                continue;
            }
            match before.remove(name).filter(|running| running.job == job) {
                Some(running) => {
                    self.running.insert(name.clone(), running);
                }
                None => new.push(job),
            }
        }
        // Those that are gone fall silent before others begin.
        drop(before);
        let count = u32::try_from(new.len()).unwrap_or(u32::MAX);
        let soon = Self::SOON.max(Self::EACH.saturating_mul(count));
        for job in new {
            // Of several for one backend the first counts.
            if !self.running.contains_key(job.backend()) {
                let running = self.start(job.clone(), soon);
                self.running.insert(job.backend().clone(), running);
            }
        }
    }

    /// Has a target checked more or less often.
    pub(super) fn set_pace(&self, backend: &BackendName, pace: Pace) {
        if let Some(running) = self.running.get(backend) {
            running.pace.send_if_modified(|current| std::mem::replace(current, pace) != pace);
        }
    }

    fn start(&self, job: J, soon: Duration) -> Running<J> {
        let leave = Arc::new(Leave::default());
        let (pace, pace_wanted) = watch::channel(Pace::Normal);
        let rhythm = job.rhythm();
        let first = rhythm.first(self.common.epoch.elapsed(), soon);
        let task = Task {
            job: job.clone(),
            rhythm,
            pace: pace_wanted,
            common: self.common.clone(),
            leave: Arc::clone(&leave),
            results: self.results.clone(),
        };
        Running { job, pace, leave, task: tokio::spawn(task.run(first)).abort_handle() }
    }
}

impl<J> Drop for Running<J> {
    fn drop(&mut self) {
        self.leave.revoke();
        self.task.abort();
    }
}

struct Task<J: Job> {
    job: J,
    rhythm: Rhythm,
    pace: watch::Receiver<Pace>,
    common: Common,
    leave: Arc<Leave>,
    results: mpsc::Sender<J::Result>,
}

impl<J: Job> Task<J> {
    async fn run(mut self, first: Duration) {
        let mut due = self.common.epoch + first;
        let mut last = None;
        loop {
            due = self.wait(due, last).await;
            let (began, result) = self.check(due).await;
            // Whoever does not take results has no further ones made, and none are heaped up.
            let Ok(place) = self.results.reserve().await else { return };
            if !self.leave.act(|| place.send(result)) {
                return;
            }
            last = Some(began);
            let pace = *self.pace.borrow_and_update();
            due = self.due_after(began, pace);
        }
    }

    fn due_after(&self, last: Instant, pace: Pace) -> Instant {
        let since_epoch = last.saturating_duration_since(self.common.epoch);
        self.common.epoch + self.rhythm.next(since_epoch, pace)
    }

    /// Waits until a check is due, which another pace changes at once; returns when it was.
    async fn wait(&mut self, mut due: Instant, last: Option<Instant>) -> Instant {
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.pace.changed() => {
                    let pace = *self.pace.borrow_and_update();
                    if let Some(last) = last {
                        // Not earlier than the wish for it, or it would count as late.
                        due = self.due_after(last, pace).max(Instant::now());
                    }
                }
                () = sleep_until(due) => return due,
            }
        }
    }

    /// Checks once; returns when it began and what came of it.
    async fn check(&self, due: Instant) -> (Instant, J::Result) {
        let within = self.rhythm.interval(*self.pace.borrow());
        let permit = self.common.permits.get(self.job.descriptors(), within).await;
        let began = Instant::now();
        if permit.is_none() {
            self.common.meter.was_not_made();
            return (began, self.job.not_asked(CheckFailure::OutOfDescriptors));
        }
        let _in_flight = self.common.meter.begin(began.saturating_duration_since(due));
        let asked = guarded(self.job.ask(&self.common.means)).await;
        let result = asked.unwrap_or_else(|panic| {
            tracing::error!(backend = %self.job.backend(), panic, "a check failed within lbd");
            self.job.not_asked(CheckFailure::Impossible(format!("a fault within lbd: {panic}")))
        });
        (began, result)
    }
}

#[cfg(test)]
mod tests;
