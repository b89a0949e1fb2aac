//! Who asks when: all flows in turn, evenly over the interval.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use lb_tests::clock;
use tokio::time::{Instant, MissedTickBehavior};

use super::{flow::Flow, ledger::Ledger};

/// Asks over all flows, one after the other, each once in an interval.
pub(super) struct Pacer {
    interval_ms: u64,
    silence_ms: u64,
    ledger: Ledger,
    flows: RefCell<Vec<Rc<Flow>>>,
    /// Whose turn it is.
    next: Cell<usize>,
    is_asking: Cell<bool>,
}

const TICK: Duration = Duration::from_millis(5);

impl Pacer {
    pub(super) fn new(interval_ms: u64, silence_ms: u64, ledger: Ledger) -> Self {
        let (flows, next) = (RefCell::default(), Cell::new(0));
        Self { interval_ms, silence_ms, ledger, flows, next, is_asking: Cell::new(true) }
    }

    /// A flow takes part from now on. Asks its first question.
    pub(super) fn add(&self, flow: Rc<Flow>) {
        flow.ask();
        let listener = Rc::clone(&flow);
        tokio::task::spawn_local(async move { listener.listen().await });
        self.flows.borrow_mut().push(flow);
    }

    /// Flows that are not over.
    pub(super) fn flows(&self) -> Vec<Rc<Flow>> {
        self.flows.borrow().iter().filter(|flow| !flow.is_over()).cloned().collect()
    }

    /// Asks until [`Pacer::settle`], and looks for silence for ever.
    pub(super) async fn run(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // Of the next question, in flows times milliseconds.
        let mut due = 0;
        let mut before = clock::now_ms();
        loop {
            ticks.tick().await;
            let now = clock::now_ms();
            self.ledger.lagged((now - before).saturating_sub(TICK.as_millis() as u64));
            let flows = self.flows.borrow().len() as u64;
            // After a pause all are asked once, and not as often as they were not.
            due += flows * (now - before).min(self.interval_ms);
            before = now;
            while due >= self.interval_ms {
                due -= self.interval_ms;
                self.visit(now);
            }
        }
    }

    /// Asks nothing more, and waits until nothing is open.
    pub(super) async fn settle(&self, patience: Duration) {
        self.is_asking.set(false);
        let end = Instant::now() + patience;
        while Instant::now() < end && self.flows.borrow().iter().any(|flow| flow.is_waiting()) {
            tokio::time::sleep(TICK).await;
        }
    }

    fn visit(&self, now: u64) {
        let at = self.next.get();
        let Some(flow) = self.flows.borrow().get(at).cloned() else {
            // The end of the round, or no flow at all.
            return self.next.set(0);
        };
        flow.look(self.silence_ms);
        if flow.ends_ms.is_some_and(|end| end <= now) && !flow.is_waiting() {
            flow.close();
        }
        if flow.is_over() {
            self.flows.borrow_mut().swap_remove(at);
            return;
        }
        if self.is_asking.get() {
            flow.ask();
        }
        self.next.set(at + 1);
    }
}
