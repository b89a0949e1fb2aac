//! Tells when it is time to read a list of the kernel's anew.

use std::{io, time::Duration};

use rtnetlink::MulticastGroup;
use tokio::time::{sleep, timeout};

use super::{
    events::{BURST, Events},
    requests::Requests,
};

/// Tells when it is time to read a list of the kernel's anew.
#[derive(Debug)]
pub(super) struct Follower {
    groups: &'static [MulticastGroup],
    events: Events,
    /// For the reading.
    pub(super) requests: Requests,
}

/// Time between looks without an event.
const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// Time before another attempt when the kernel does not answer.
const RETRY: Duration = Duration::from_secs(1);

impl Follower {
    /// Must be called in a runtime.
    pub(super) fn open(groups: &'static [MulticastGroup]) -> io::Result<Self> {
        Ok(Self { groups, events: Events::open(groups)?, requests: Requests::open()? })
    }

    /// Returns when something may have changed, or when it is time for a look.
    pub(super) async fn changed(&mut self) {
        match timeout(LOOK_ANYWAY, self.events.next()).await {
            Err(_) => {}
            Ok(Ok(_)) => {
                let rest = async { while self.events.next().await.is_ok() {} };
                let _ = timeout(BURST, rest).await;
            }
            Ok(Err(error)) => self.failed(&error).await,
        }
    }

    /// To be called when a reading failed. Returns when it is time for another attempt.
    pub(super) async fn failed(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the kernel's tables could not be read");
        sleep(RETRY).await;
        // If this fails, so does the next reading, and leads here again.
        if let Ok(another) = Self::open(self.groups) {
            *self = another;
        }
    }
}
