//! Runs the checks: a task for each target.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use super::{CheckFailure, tcp};
use crate::model::{BackendName, CheckKind, HealthCheck};

/// A backend to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which one. Of several targets for one backend the first counts.
    pub backend: BackendName,
    /// Comes back with each result, so that those of a former backend of this name can be told.
    pub generation: u64,
    /// How.
    pub check: HealthCheck,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Which backend was checked.
    pub backend: BackendName,
    /// Generation of its target.
    pub generation: u64,
    /// How long the answer took, or why the check did not pass.
    pub outcome: Result<Duration, CheckFailure>,
}

/// Runs the checks. They end with it.
#[derive(Debug)]
pub struct Checker {
    results: mpsc::Sender<CheckResult>,
    running: BTreeMap<BackendName, Running>,
    /// All intervals are counted from here.
    epoch: Instant,
}

#[derive(Debug)]
struct Running {
    target: Target,
    leave: Arc<Leave>,
    task: AbortHandle,
}

impl Checker {
    /// Checks nothing yet.
    #[must_use]
    pub fn new(results: mpsc::Sender<CheckResult>) -> Self {
        Self { results, running: BTreeMap::new(), epoch: Instant::now() }
    }

    /// Starts what is new, stops what is gone, and leaves equal targets alone, so that they keep
    /// their rhythm. What was stopped sends no further result; one that waits in the channel
    /// already carries its old generation. Must be called in a runtime.
    pub fn reconcile(&mut self, targets: Vec<Target>) {
        let mut before = std::mem::take(&mut self.running);
        for target in targets {
            let name = target.backend.clone();
            if self.running.contains_key(&name) {
                continue;
            }
            let unchanged = before.remove(&name).filter(|running| running.target == target);
            let running = unchanged.unwrap_or_else(|| self.start(target));
            self.running.insert(name, running);
        }
    }

    fn start(&self, target: Target) -> Running {
        let leave = Arc::new(Leave::default());
        let task = Task {
            target: target.clone(),
            schedule: Schedule::new(&target, self.epoch, Instant::now()),
            leave: Arc::clone(&leave),
            results: self.results.clone(),
        };
        Running { target, leave, task: tokio::spawn(task.run()).abort_handle() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.leave.revoke();
        self.task.abort();
    }
}

/// When a target is checked: once soon, so that a new backend need not wait for its turn, then at
/// its place in the interval. Names decide on the place, so thousands of checks spread evenly and
/// keep their places when the set of backends changes.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first: Instant,
    second: Instant,
}

impl Schedule {
    const SOON: Duration = Duration::from_millis(100);

    fn new(target: &Target, epoch: Instant, now: Instant) -> Self {
        let interval = target.check.interval;
        let share = share(&target.backend);
        let first = now + Self::SOON.min(interval).mul_f64(share);
        let since_epoch = first.saturating_duration_since(epoch).as_nanos();
        let into_interval = since_epoch % interval.as_nanos().max(1);
        let place = interval.mul_f64(share).as_nanos();
        let wait = if place > into_interval { place } else { place + interval.as_nanos() };
        // At most the interval, whose length came from a `Duration`.
        let wait = Duration::from_nanos((wait - into_interval) as u64);
        Self { first, second: first + wait }
    }
}

/// A number from 0 to 1 that hangs on the name alone.
fn share(backend: &BackendName) -> f64 {
    let mut hasher = DefaultHasher::new();
    backend.hash(&mut hasher);
    hasher.finish() as f64 / u64::MAX as f64
}

struct Task {
    target: Target,
    schedule: Schedule,
    leave: Arc<Leave>,
    results: mpsc::Sender<CheckResult>,
}

impl Task {
    async fn run(self) {
        sleep_until(self.schedule.first).await;
        let mut is_wanted = self.check().await;
        let mut ticks = interval_at(self.schedule.second, self.target.check.interval);
        // A late check moves those after it. To catch up would make two of one hiccup.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while is_wanted {
            ticks.tick().await;
            is_wanted = self.check().await;
        }
    }

    /// Checks once and sends the result; false when nobody wants it.
    async fn check(&self) -> bool {
        let Target { backend, generation, check } = &self.target;
        let address = SocketAddr::new(backend.address, check.port);
        let outcome = match check.kind {
            CheckKind::Tcp => tcp::check(address, check.timeout).await,
        };
        let Ok(permit) = self.results.reserve().await else {
            return false;
        };
        let result = CheckResult { backend: backend.clone(), generation: *generation, outcome };
        self.leave.act(|| permit.send(result))
    }
}

/// Leave to send. An aborted task runs on to its next await, perhaps on another thread, so the
/// abort alone does not keep a stopped target silent.
#[derive(Debug, Default)]
struct Leave {
    is_revoked: Mutex<bool>,
}

impl Leave {
    /// Acts unless the leave was revoked; returns whether it did.
    fn act(&self, action: impl FnOnce()) -> bool {
        let is_revoked = self.is_revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_revoked {
            action();
        }
        !*is_revoked
    }

    fn revoke(&self) {
        *self.is_revoked.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

#[cfg(test)]
mod tests;
