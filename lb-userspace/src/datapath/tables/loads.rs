//! Whose flows are to be counted, and how long backends take to answer.

use std::time::Duration;

use lb_common::{Address, flow, policy::flag, service::UDP};

use super::Tables;
use crate::datapath::loads::Asked;

/// How long a silent connection counts as one.
const IDLE: Duration = Duration::from_secs(60 * 60);

impl Tables {
    /// Backends whose services ask how many flows they have, but those whose flows are translated.
    #[must_use]
    pub fn counted(&self) -> Vec<Asked> {
        let ticks = (IDLE.as_secs() * u64::from(self.hz)) >> flow::tick(self.hz);
        let hour = u16::try_from(ticks).unwrap_or(u16::MAX);
        let mut asked = Vec::new();
        for (key, placed) in &self.services {
            let table = self.arrays.services[placed.place as usize].table();
            let policy = &self.arrays.policies[table.policy() as usize];
            if !policy.scheduler().counts_flows() || policy.asks(flag::NAT) {
                continue;
            }
            let idle = if key.protocol() == UDP { policy.flow_timeout } else { hour };
            let from_here = self.backends.range((placed.id, Address::MIN)..);
            let of_service = from_here.take_while(|((service, _), _)| *service == placed.id);
            asked.extend(of_service.map(|(_, backend)| Asked { backend: *backend, idle }));
        }
        asked
    }

    /// Takes in how long a backend took to answer.
    pub fn answered(&self, backend: u16, latency: Duration) {
        if let Some(load) = self.arrays.loads.get(usize::from(backend)) {
            load.answered(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }
}
