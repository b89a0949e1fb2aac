//! What the client writes to stdout: one JSON object per line.
//!
//! Times are milliseconds of the machine's monotonic clock, see [`crate::clock`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// All flows that were asked for are open, and somebody has answered each.
    Ready(Count),
    /// Something happened to a flow.
    Event(Event),
    /// How things stand, every second.
    Count(Count),
    /// How things stood at the end; the last line.
    Summary(Count),
}

/// What happened to one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub kind: Kind,
    /// When it was noticed.
    pub at_ms: u64,
    /// When the flow was opened.
    pub opened_ms: u64,
    /// `tcp` or `udp`.
    pub protocol: Protocol,
    /// The client's end.
    pub local: SocketAddr,
    /// Who answered the flow so far; none if nobody did.
    pub backend: Option<String>,
    /// Who answered this time, if it was another one.
    pub stranger: Option<String>,
    /// The last number that was answered.
    pub answered: Option<u64>,
    /// How long the oldest question without an answer had waited.
    pub waited_ms: u64,
    /// What happened, in the words of whoever noticed it.
    pub detail: String,
}

/// The kinds of things that happen to flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The flow is over: reset, ended, or silent for too long.
    Broken,
    /// Another backend answers than before.
    Misrouted,
    /// An answer came late.
    Stalled,
    /// A flow could not be opened, or nobody ever answered it.
    Unopened,
}

/// The protocol of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A TCP connection.
    Tcp,
    /// A UDP flow.
    Udp,
}

/// Counts since the client is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// When they were taken.
    pub at_ms: u64,
    /// Connections that are open now.
    pub tcp: u64,
    /// UDP flows that are open now.
    pub udp: u64,
    /// Questions that were asked.
    pub asked: u64,
    /// Answers that came.
    pub answered: u64,
    /// Datagrams whose answer never came, though later ones of the flow were answered.
    pub lost: u64,
    /// Flows that were opened, and answered.
    pub opened: u64,
    /// [`Kind::Unopened`].
    pub unopened: u64,
    /// [`Kind::Broken`].
    pub broken: u64,
    /// [`Kind::Misrouted`].
    pub misrouted: u64,
    /// [`Kind::Stalled`].
    pub stalled: u64,
    /// The longest wait for an answer.
    pub longest_wait_ms: u64,
    /// How much later than planned the client itself came to run, at worst: waits may contain it.
    pub own_lag_ms: u64,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Misrouted => "misrouted",
            Self::Stalled => "stalled",
            Self::Unopened => "unopened",
        }
    }
}

impl Event {
    /// When the question was asked that waited.
    #[must_use]
    pub const fn began_ms(&self) -> u64 {
        self.at_ms - self.waited_ms
    }
}

impl std::fmt::Display for Event {
    /// One line for people, without the time.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = if self.protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let backend = self.backend.as_deref().unwrap_or("nobody");
        write!(f, "{} {protocol} {} at {backend}", self.kind.name(), self.local)?;
        if let Some(number) = self.answered {
            write!(f, ", answered up to {number}")?;
        }
        write!(f, ", waited {} ms: {}", self.waited_ms, self.detail)
    }
}
