//! Looking at the flow cache now and then: how full it is, and how busy backends are.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc;

use super::Daemon;
use crate::{datapath::loads::FlowCount, health::CheckResult};

/// Seconds between two looks where no scheduler asks for flows.
const SELDOM: u32 = 10;

/// A walk over the flow cache that has ended.
pub(super) struct Walked {
    count: FlowCount,
    /// Places that were taken; `None` if it panicked.
    taken: Option<u64>,
}

/// What was last seen, and the walk while it is not on its way.
pub(super) struct FlowCache {
    count: Option<FlowCount>,
    /// Places that were taken.
    taken: u64,
    /// Seconds since the last look.
    since: u32,
    back: mpsc::Sender<Walked>,
}

impl FlowCache {
    pub(super) const fn new(count: FlowCount, back: mpsc::Sender<Walked>) -> Self {
        Self { count: Some(count), taken: 0, since: SELDOM, back }
    }

    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }
}

impl Daemon {
    /// Takes in a walk that has ended.
    pub(super) fn take_walk(&mut self, walked: Walked) {
        match walked.taken {
            Some(taken) => self.flow_cache.taken = taken,
            None => tracing::error!("the walk over the flow cache panicked; next try follows"),
        }
        self.flow_cache.count = Some(walked.count);
    }

    /// Begins the next walk, unless one is still on its way: each second where a scheduler asks.
    pub(super) fn look_at_flows(&mut self) {
        let asked = self.datapath.tables.counted();
        self.flow_cache.since += 1;
        if asked.is_empty() && self.flow_cache.since < SELDOM {
            return;
        }
        let ticks = match self.datapath.ticks() {
            Ok(ticks) => ticks,
            Err(error) => {
                tracing::warn!(%error, "the kernel's clock cannot be read; flows are not counted");
                return;
            }
        };
        let Some(mut count) = self.flow_cache.count.take() else { return };
        self.flow_cache.since = 0;
        let back = self.flow_cache.back.clone();
        tokio::task::spawn_blocking(move || {
            let taken = guarded(|| count.pass(&asked, ticks.now));
            // The daemon may be gone.
            let _ = back.blocking_send(Walked { count, taken });
        });
    }

    /// Takes in how long a check took, for schedulers that prefer who answers fast. A backend that
    /// gets no flows since it is slow is heard of by this alone.
    pub(super) fn note_latency(&self, result: &CheckResult) {
        let Ok(latency) = result.outcome else { return };
        let service = self.control.services().get(&result.backend.service);
        let tables = &self.datapath.tables;
        let index = service
            .and_then(|service| tables.backend_id(&service.key(), &result.backend.address.into()));
        if let Some(index) = index {
            tables.answered(index, latency);
        }
    }
}

/// Makes a panic no answer: the thread that it ends has the walk, and nothing would be counted any
/// more.
fn guarded<T>(walk: impl FnOnce() -> T) -> Option<T> {
    // What a panic can leave undone is a count, which the next walk begins anew.
    catch_unwind(AssertUnwindSafe(walk)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_no_answer() {
        assert_eq!(guarded(|| -> u64 { panic!("expected by the test") }), None);
        assert_eq!(guarded(|| 7), Some(7));
    }
}
