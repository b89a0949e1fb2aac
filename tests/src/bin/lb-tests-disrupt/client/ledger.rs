//! The client's accounts, and the only place that writes to stdout.

use std::{cell::RefCell, io::Write as _, rc::Rc};

use lb_tests::{
    clock,
    disruption::report::{Count, Event, Kind, Line, Protocol},
};

/// The accounts of all flows. A clone is another handle of the same.
#[derive(Clone, Default)]
pub(super) struct Ledger(Rc<RefCell<Accounts>>);

#[derive(Default)]
struct Accounts {
    count: Count,
    /// All lags together.
    lag_ms: u64,
    /// Nothing is an event before all flows are open.
    is_ready: bool,
}

impl Ledger {
    pub(super) fn ready(&self) {
        let accounts = &mut *self.0.borrow_mut();
        accounts.is_ready = true;
        let Count { tcp, udp, .. } = accounts.count;
        accounts.count = Count { tcp, udp, at_ms: clock::now_ms(), ..Count::default() };
        print(&Line::Ready(accounts.count.clone()));
    }

    pub(super) fn opened(&self, protocol: Protocol) {
        let count = &mut self.0.borrow_mut().count;
        count.opened += 1;
        *open(count, protocol) += 1;
    }

    pub(super) fn closed(&self, protocol: Protocol) {
        *open(&mut self.0.borrow_mut().count, protocol) -= 1;
    }

    pub(super) fn asked(&self) {
        self.0.borrow_mut().count.asked += 1;
    }

    /// An answer came after so long, and so many datagrams before it are lost.
    pub(super) fn answered(&self, waited_ms: u64, lost: u64) {
        let count = &mut self.0.borrow_mut().count;
        count.answered += 1;
        count.lost += lost;
        count.longest_wait_ms = count.longest_wait_ms.max(waited_ms);
    }

    /// This program came to run so much too late.
    pub(super) fn lagged(&self, lag_ms: u64) {
        let accounts = &mut *self.0.borrow_mut();
        accounts.lag_ms += lag_ms;
        accounts.count.own_lag_ms = accounts.count.own_lag_ms.max(lag_ms);
    }

    /// How much time this program has lost by not running.
    pub(super) fn lag_ms(&self) -> u64 {
        self.0.borrow().lag_ms
    }

    pub(super) fn event(&self, event: Event) {
        let accounts = &mut *self.0.borrow_mut();
        if !accounts.is_ready {
            eprintln!("{event}");
            return;
        }
        let count = &mut accounts.count;
        match event.kind {
            Kind::Broken => count.broken += 1,
            Kind::Misrouted => count.misrouted += 1,
            Kind::Stalled => count.stalled += 1,
            Kind::Unopened => count.unopened += 1,
        }
        print(&Line::Event(event));
    }

    pub(super) fn count(&self) {
        print(&Line::Count(self.now()));
    }

    pub(super) fn summary(&self) {
        print(&Line::Summary(self.now()));
    }

    fn now(&self) -> Count {
        Count { at_ms: clock::now_ms(), ..self.0.borrow().count.clone() }
    }
}

fn open(count: &mut Count, protocol: Protocol) -> &mut u64 {
    match protocol {
        Protocol::Tcp => &mut count.tcp,
        Protocol::Udp => &mut count.udp,
    }
}

fn print(line: &Line) {
    let mut text = serde_json::to_vec(line).expect("a line has no maps with other keys than text");
    text.push(b'\n');
    // Whoever reads may be gone; then so are we, in a moment.
    let _ = std::io::stdout().lock().write_all(&text);
}
