//! Ending disputes of slots when the grace time is over.

use std::time::Duration;

use super::Daemon;

/// Time until slots that are still in use after the grace time are looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Daemon {
    /// Ends disputes that have lasted for the grace time.
    pub(super) fn settle_disputes(&mut self) {
        let services = self.control.services();
        let mut over = Vec::new();
        for (key, since) in &mut self.disputes {
            let service = services.values().find(|service| service.key() == *key);
            let Some(service) = service else {
                over.push(*key);
                continue;
            };
            if since.elapsed() < service.flow_grace {
                continue;
            }
            let left = match self.datapath.settle_slots(key, service.flow_grace) {
                Ok(left) => left,
                Err(error) => {
                    tracing::warn!(%error, "the kernel's clock cannot be read; disputes go on");
                    return;
                }
            };
            tracing::debug!(service = %service.name, left, "disputed slots after the grace time");
            if left == 0 {
                over.push(*key);
            } else {
                *since += LOOK_AGAIN;
            }
        }
        for key in over {
            self.disputes.remove(&key);
        }
    }
}
