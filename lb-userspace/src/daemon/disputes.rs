//! Ending disputes of slots when the grace time is over.

use std::time::Duration;

use lb_common::Address;

use super::Daemon;
use crate::control::State;

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
            let drained: Vec<u16> = self
                .control
                .views_of(service)
                .into_iter()
                .filter(|view| view.effective.state == State::Drain)
                .filter_map(|view| {
                    self.datapath.tables.backend_id(key, &Address::from(view.name.address))
                })
                .collect();
            let drains = |id| drained.contains(&id);
            let left = self.datapath.tables.settle(key, ticks(service.flow_grace), drains);
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

/// Ticks of the flow cache in a time, where a second has the most of them (1,000 Hz): on slower
/// kernels flows count as alive for longer.
fn ticks(time: Duration) -> u16 {
    let ticks = time.as_secs().saturating_mul(1000) >> lb_common::flow::TICK;
    ticks.min(i16::MAX as u64) as u16
}
