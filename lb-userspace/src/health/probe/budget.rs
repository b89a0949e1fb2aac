//! The time that a check has, for all of its steps together.

use std::time::Duration;

use tokio::time::{self, Instant, error::Elapsed};

use crate::health::{CheckFailure, Step};

/// The time that a check has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    started: Instant,
    limit: Duration,
}

impl Budget {
    /// Begins now.
    pub(super) fn new(limit: Duration) -> Self {
        Self { started: Instant::now(), limit }
    }

    /// The whole of it.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// What has gone by.
    pub(super) fn spent(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits for what must end within it.
    pub(super) async fn take<F: Future>(&self, future: F) -> Result<F::Output, Elapsed> {
        time::timeout_at(self.started + self.limit, future).await
    }

    /// The same for a step after the connection was made, named if it does not end.
    pub(super) async fn step<F: Future>(
        &self,
        step: Step,
        future: F,
    ) -> Result<F::Output, CheckFailure> {
        self.take(future).await.map_err(|_| CheckFailure::Stalled(step, self.limit))
    }
}
