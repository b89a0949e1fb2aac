//! One flow: what was asked, who answered, and when it counts as broken.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
};

use lb_tests::{
    clock,
    disruption::{
        message::{ANSWER, Question, read_answer},
        report::{Event, Kind, Protocol},
    },
};
use tokio::sync::Notify;

use super::{ledger::Ledger, socket::Socket};

/// An answer that takes longer is late.
const LATE_MS: u64 = 500;

/// A flow that is open.
pub(super) struct Flow {
    number: u64,
    local: SocketAddr,
    protocol: Protocol,
    opened_ms: u64,
    /// When it is closed in good order; never, for most.
    pub(super) ends_ms: Option<u64>,
    socket: Socket,
    ledger: Ledger,
    state: RefCell<State>,
    /// Told when the first answer has come, or the flow is over.
    pub(super) changed: Notify,
    is_over: Cell<bool>,
}

#[derive(Default)]
struct State {
    backend: Option<String>,
    next: u64,
    answered: Option<u64>,
    open: VecDeque<Open>,
    /// The beginning of an answer whose end has not come yet.
    piece: Vec<u8>,
}

/// A question without an answer.
struct Open {
    number: u64,
    asked_ms: u64,
    /// The program's lags up to then.
    lag_ms: u64,
}

impl Flow {
    pub(super) fn new(
        number: u64,
        socket: Socket,
        ends_ms: Option<u64>,
        ledger: Ledger,
    ) -> io::Result<Self> {
        Ok(Self {
            number,
            local: socket.local()?,
            protocol: socket.protocol(),
            opened_ms: clock::now_ms(),
            ends_ms,
            socket,
            ledger,
            state: RefCell::default(),
            changed: Notify::new(),
            is_over: Cell::new(false),
        })
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether it is broken or closed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Whether somebody has answered.
    pub(super) fn is_answered(&self) -> bool {
        self.state.borrow().backend.is_some()
    }

    /// Whether a question is without an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_over() && !self.state.borrow().open.is_empty()
    }

    /// Asks the next question.
    pub(super) fn ask(&self) {
        if self.is_over() {
            return;
        }
        let number = self.state.borrow().next;
        match self.socket.try_write(&Question { flow: self.number, number }.to_bytes()) {
            Ok(true) => {
                let mut state = self.state.borrow_mut();
                state.next += 1;
                let (asked_ms, lag_ms) = (clock::now_ms(), self.ledger.lag_ms());
                state.open.push_back(Open { number, asked_ms, lag_ms });
                self.ledger.asked();
            }
            // Its answers are missed already.
            Ok(false) => {}
            Err(error) => self.over(&format!("asking: {error}")),
        }
    }

    /// Takes answers until the flow is over.
    pub(super) async fn listen(&self) {
        while !self.is_over() {
            if let Err(error) = self.socket.readable().await {
                return self.over(&error.to_string());
            }
            self.read();
        }
    }

    /// Breaks the flow if it has been silent for longer than this.
    pub(super) fn look(&self, silence_ms: u64) {
        let is_silent = || !self.is_over() && self.silent_ms() > silence_ms;
        if is_silent() {
            // What has come while this program could not run is no silence.
            self.read();
        }
        if is_silent() {
            self.over("no answer");
        }
    }

    /// Closes the flow in good order.
    pub(super) fn close(&self) {
        if !self.is_over.replace(true) {
            if self.is_answered() {
                self.ledger.closed(self.protocol);
            }
            self.changed.notify_waiters();
        }
    }

    fn read(&self) {
        let mut buffer = [0; 16 * ANSWER];
        while !self.is_over() {
            match self.socket.try_read(&mut buffer) {
                Ok(0) if self.protocol == Protocol::Tcp => self.over("the connection was ended"),
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => self.over(&error.to_string()),
            }
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut piece = std::mem::take(&mut self.state.borrow_mut().piece);
        piece.extend_from_slice(bytes);
        let (answers, rest) = piece.as_chunks::<ANSWER>();
        for answer in answers {
            match read_answer(answer) {
                Some((question, server)) if question.flow == self.number => {
                    self.answered(question.number, server);
                }
                _ => return self.over("an answer to another flow came"),
            }
        }
        if self.protocol == Protocol::Tcp {
            self.state.borrow_mut().piece = rest.to_vec();
        }
    }

    fn answered(&self, number: u64, server: &str) {
        let now = clock::now_ms();
        let mut state = self.state.borrow_mut();
        // A datagram may come twice, or after a later one.
        if !state.open.iter().any(|open| open.number == number) {
            return;
        }
        let waited_ms = state.open.front().map_or(0, |open| now - open.asked_ms);
        let mut lost = 0;
        while let Some(open) = state.open.pop_front()
            && open.number != number
        {
            lost += 1;
        }
        state.answered = Some(number);
        let before = state.backend.replace(server.to_owned());
        drop(state);
        self.ledger.answered(waited_ms, lost);
        match before {
            None => {
                self.ledger.opened(self.protocol);
                self.changed.notify_waiters();
            }
            Some(before) if before != server => {
                let event = self.event(Kind::Misrouted, waited_ms, "another backend answers");
                let (backend, stranger) = (Some(before), Some(server.to_owned()));
                self.ledger.event(Event { backend, stranger, ..event });
            }
            Some(_) => {}
        }
        if waited_ms > LATE_MS {
            self.ledger.event(self.event(Kind::Stalled, waited_ms, "an answer came late"));
        }
    }

    fn over(&self, why: &str) {
        let kind = if self.is_answered() { Kind::Broken } else { Kind::Unopened };
        self.ledger.event(self.event(kind, self.waited_ms(), why));
        self.close();
    }

    /// For how long the oldest question has been without an answer.
    fn waited_ms(&self) -> u64 {
        let state = self.state.borrow();
        state.open.front().map_or(0, |open| clock::now_ms() - open.asked_ms)
    }

    /// The same without the time in which this program did not come to run: it is no silence of
    /// others.
    fn silent_ms(&self) -> u64 {
        let lag_ms =
            self.state.borrow().open.front().map_or(0, |open| self.ledger.lag_ms() - open.lag_ms);
        self.waited_ms().saturating_sub(lag_ms)
    }

    fn event(&self, kind: Kind, waited_ms: u64, detail: &str) -> Event {
        let state = self.state.borrow();
        Event {
            kind,
            at_ms: clock::now_ms(),
            opened_ms: self.opened_ms,
            protocol: self.protocol,
            local: self.local,
            backend: state.backend.clone(),
            stranger: None,
            answered: state.answered,
            waited_ms,
            detail: detail.to_owned(),
        }
    }
}
