//! One hook at work: what waits for it, and what runs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use super::{
    HookCounts, Outcome,
    queue::{Put, Queue},
    rate::Rate,
    run, webhook,
};
use crate::{
    event::{Event, EventKind, Told},
    model::{Hook, HookAction},
};

/// A hook with its queue. Its task runs until the hook is ended and its runs are over.
#[derive(Debug)]
pub(super) struct Worker {
    hook: Hook,
    state: Mutex<State>,
    /// Something waits, or the end has come.
    wake: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    rate: Rate,
    counts: HookCounts,
    is_over: bool,
}

/// What is to be done next.
enum Next {
    Run(Arc<Told>),
    Tell(Event),
    Wait,
}

impl Worker {
    /// Starts the hook's task.
    pub(super) fn start(hook: Hook, reports: mpsc::Sender<Event>) -> Arc<Self> {
        let state = State {
            queue: Queue::default(),
            rate: Rate::new(hook.max_per_minute, Instant::now()),
            counts: HookCounts::new(&hook.name),
            is_over: false,
        };
        let worker = Arc::new(Self { hook, state: Mutex::new(state), wake: Notify::new() });
        tokio::spawn(Arc::clone(&worker).work(reports));
        worker
    }

    pub(super) const fn hook(&self) -> &Hook {
        &self.hook
    }

    pub(super) fn counts(&self) -> HookCounts {
        self.state().counts.clone()
    }

    /// Takes an event that the hook is for. One that it is for but for what it led to ends the wait
    /// of its predecessor: nobody restarts a server that is well again.
    pub(super) fn offer(&self, told: &Arc<Told>) {
        if !self.hook.concerns(&told.event) {
            return;
        }
        let mut state = self.state();
        if !self.hook.wants(&told.event) {
            state.counts.superseded += u64::from(state.queue.withdraw(told));
            return;
        }
        match state.queue.put(Arc::clone(told)) {
            Put::Waits => {}
            Put::Replaced => state.counts.superseded += 1,
            Put::Full => state.counts.dropped += 1,
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Begins nothing any more.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.is_over = true;
        state.queue.clear();
        drop(state);
        self.wake.notify_one();
    }

    async fn work(self: Arc<Self>, reports: mpsc::Sender<Event>) {
        let mut runs = JoinSet::new();
        loop {
            while runs.len() < self.hook.max_running as usize {
                match self.next(Instant::now()) {
                    Next::Run(told) => {
                        let run = Run { worker: Arc::clone(&self), told };
                        runs.spawn(run.finish(reports.clone()));
                    }
                    // The daemon may be gone, here and below.
                    Next::Tell(event) => drop(reports.send(event).await),
                    Next::Wait => break,
                }
            }
            if runs.is_empty() && self.state().is_over {
                return;
            }
            tokio::select! {
                () = self.wake.notified() => {}
                Some(_) = runs.join_next() => {}
            }
        }
    }

    fn next(&self, now: Instant) -> Next {
        let mut state = self.state();
        while let Some(told) = state.queue.take() {
            if state.rate.take(now) {
                return Next::Run(told);
            }
            state.queue.release(&told);
            state.counts.limited += 1;
            if let Some(kept_back) = state.rate.keep_back(now) {
                return Next::Tell(self.limited(&told, kept_back));
            }
        }
        Next::Wait
    }

    fn limited(&self, told: &Told, kept_back: u64) -> Event {
        let Hook { name, max_per_minute, .. } = &self.hook;
        let events = if kept_back == 1 { "event" } else { "events" };
        let reason = format!(
            "hook `{name}`: {kept_back} {events} kept back, since max_per_minute is {max_per_minute}"
        );
        report(told, "limited", reason)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it panics half-way, so what a panic elsewhere left behind is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run; its subject is busy as long as it lives.
struct Run {
    worker: Arc<Worker>,
    told: Arc<Told>,
}

impl Run {
    async fn finish(self, reports: mpsc::Sender<Event>) {
        let Hook { name, action, timeout, .. } = &self.worker.hook;
        let began = Instant::now();
        let outcome = match action {
            HookAction::Command { program, arguments } => {
                run::run(program, arguments, &self.told, *timeout).await
            }
            HookAction::Url { url, retries } => {
                webhook::call(url, *retries, &self.told, *timeout).await
            }
        };
        let took = began.elapsed();
        self.worker.state().counts.record(&outcome, took);
        let (to, reason) = match outcome {
            Outcome::Done => ("done", format!("hook `{name}` took {}", milliseconds(took))),
            Outcome::Failed(why) => ("failed", format!("hook `{name}`: {why}")),
            Outcome::Timeout => {
                let timeout = humantime::format_duration(*timeout);
                ("failed", format!("hook `{name}`: ended, since it took longer than {timeout}"))
            }
        };
        let event = report(&self.told, to, reason);
        drop(self);
        let _ = reports.send(event).await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.worker.state().queue.release(&self.told);
    }
}

/// What became of a hook, as an event of what it was for.
fn report(told: &Told, to: &str, reason: String) -> Event {
    Event {
        kind: EventKind::Hook,
        service: told.event.service.clone(),
        backend: told.event.backend,
        from: None,
        to: Some(to.to_owned()),
        reason,
    }
}

fn milliseconds(took: Duration) -> String {
    humantime::format_duration(Duration::from_millis(took.as_millis() as u64)).to_string()
}
