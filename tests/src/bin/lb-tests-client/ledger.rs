//! Accounts: what was started, and what became of it.

use std::{cell::RefCell, collections::BTreeMap, io::Write as _, rc::Rc, time::Duration};

use lb_tests::{
    clock,
    report::{Failure, Interval, Line},
};
use tokio::signal::unix::{SignalKind, signal};

/// All requests of this client. A clone is another handle of the same accounts.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Rc<RefCell<Accounts>>);

#[derive(Default)]
struct Accounts {
    /// How many requests without an outcome started at this millisecond.
    open: BTreeMap<u64, u32>,
    interval: Interval,
    summary: Interval,
}

impl Ledger {
    /// A request starts now. Returns its start, which has to be told with its outcome.
    pub(crate) fn start(&self) -> u64 {
        let now = clock::now_ms();
        *self.0.borrow_mut().open.entry(now).or_default() += 1;
        now
    }

    /// The request that started then was answered by this backend.
    pub(crate) fn served(&self, started_ms: u64, backend: &str) {
        let accounts = &mut *self.0.borrow_mut();
        accounts.close(started_ms);
        let served = accounts.interval.served.entry(backend.into()).or_default();
        served.count += 1;
        served.last_started_ms = served.last_started_ms.max(started_ms);
        served.slowest_ms = served.slowest_ms.max(clock::now_ms() - started_ms);
    }

    /// A request failed.
    pub(crate) fn failed(&self, failure: Failure) {
        let accounts = &mut *self.0.borrow_mut();
        accounts.close(failure.started_ms);
        accounts.interval.failed.push(failure);
    }

    /// Reports every `interval_ms` until SIGTERM; then calls `stop`, waits until nothing is open,
    /// and reports the rest and the sum.
    pub(crate) async fn report(&self, interval_ms: u64, stop: impl FnOnce()) -> anyhow::Result<()> {
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interval = tokio::time::interval(Duration::from_millis(interval_ms.max(1)));
        self.0.borrow_mut().interval.from_ms = clock::now_ms();
        loop {
            tokio::select! {
                _ = interval.tick() => self.print_interval()?,
                _ = terminated.recv() => break,
            }
        }
        stop();
        while !self.0.borrow().open.is_empty() {
            interval.tick().await;
        }
        self.print_interval()?;
        print(&Line::Summary(self.0.borrow().summary.clone()))
    }

    fn print_interval(&self) -> anyhow::Result<()> {
        let accounts = &mut *self.0.borrow_mut();
        let now = clock::now_ms();
        let mut interval = std::mem::take(&mut accounts.interval);
        accounts.interval.from_ms = now;
        interval.to_ms = now;
        interval.settled_ms = accounts.open.keys().next().copied().unwrap_or(now);
        accounts.summary.extend(&interval);
        print(&Line::Interval(interval))
    }
}

impl Accounts {
    fn close(&mut self, started_ms: u64) {
        let open = self.open.get_mut(&started_ms).expect("what ends has started");
        *open -= 1;
        if *open == 0 {
            self.open.remove(&started_ms);
        }
    }
}

/// Writes one line.
pub(crate) fn print(line: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    serde_json::to_writer(&mut output, line)?;
    output.write_all(b"\n")?;
    Ok(output.flush()?)
}
