//! What the client program writes to stdout: one JSON object per line.
//!
//! Times are of the machine's monotonic clock, see [`crate::clock`].

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// A line of a load generator (`lb-tests-client http` and `udp`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// What happened since the line before.
    Interval(Interval),
    /// All intervals together; the last line.
    Summary(Interval),
}

/// What happened to requests (or numbered datagrams) in some time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Interval {
    /// When it began.
    pub from_ms: u64,
    /// When it ended.
    pub to_ms: u64,
    /// Of every request that started before this, the outcome has been reported.
    pub settled_ms: u64,
    /// Requests that were answered, by backend.
    pub served: BTreeMap<String, Served>,
    /// Requests that were not.
    pub failed: Vec<Failure>,
}

/// Requests that one backend answered.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Served {
    /// How many.
    pub count: u64,
    /// When the last of them started.
    pub last_started_ms: u64,
    /// How long the slowest of them took.
    pub slowest_ms: u64,
}

/// A request that was not answered as it should be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// When it started.
    pub started_ms: u64,
    /// How long it took to fail.
    pub after_ms: u64,
    /// The client's end; with the service's address this tells which flow it was.
    pub local: SocketAddr,
    /// The kind of failure.
    pub reason: Reason,
    /// The failure in the words of whoever noticed it.
    pub detail: String,
}

/// The kinds of failures that lead to different suspects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody listened.
    Refused,
    /// The connection was there and was taken away.
    Reset,
    /// Nothing came back in time.
    Timeout,
    /// The answer ended too early.
    Truncated,
    /// An answer came, but a wrong one.
    Wrong,
    /// The client's own system failed.
    Local,
}

/// A line of `lb-tests-client download`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DownloadLine {
    /// The answer has begun.
    Started {
        /// Who serves it.
        backend: String,
        /// The client's end of the connection.
        local: SocketAddr,
    },
    /// All bytes came, and each was the right one.
    Complete {
        /// How many.
        bytes: u64,
    },
    /// The download broke.
    Broken(Failure),
}

impl Interval {
    /// Adds what happened in a later interval.
    pub fn extend(&mut self, later: &Self) {
        if self.to_ms == 0 {
            self.from_ms = later.from_ms;
        }
        self.to_ms = later.to_ms;
        self.settled_ms = later.settled_ms;
        for (backend, more) in &later.served {
            self.served.entry(backend.clone()).or_default().extend(*more);
        }
        self.failed.extend_from_slice(&later.failed);
    }

    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.served.values().map(|served| served.count).sum()
    }

    /// The part of the answers that came from `backend`, from 0 to 1.
    #[must_use]
    pub fn share(&self, backend: &str) -> f64 {
        let count = self.served.get(backend).map_or(0, |served| served.count);
        // A division by nothing would be no share.
        count as f64 / self.answered().max(1) as f64
    }
}

impl Served {
    /// Adds other requests of the same backend.
    pub fn extend(&mut self, other: Self) {
        self.count += other.count;
        self.last_started_ms = self.last_started_ms.max(other.last_started_ms);
        self.slowest_ms = self.slowest_ms.max(other.slowest_ms);
    }
}
