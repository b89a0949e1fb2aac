//! Giving back what packets may still be reading, once they do not.

use std::collections::BTreeSet;

use lb_common::{Address, ServiceKey, Table};

use super::{Retired, Tables};
use crate::datapath::desired::DesiredService;

impl Tables {
    pub(super) fn retire_backends(&mut self, service: u32, kept: &[u16]) {
        let gone: Vec<(u32, Address)> = self
            .backends
            .range((service, Address::MIN)..)
            .take_while(|((other, _), _)| *other == service)
            .filter(|(_, index)| !kept.contains(index))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.retired.extend(self.backends.remove(&key).map(Retired::Backend));
        }
    }

    pub(super) fn retire_services(&mut self, desired: &[DesiredService]) {
        let wanted: BTreeSet<ServiceKey> = desired.iter().map(|service| service.key).collect();
        let gone: Vec<ServiceKey> =
            self.services.keys().filter(|key| !wanted.contains(key)).copied().collect();
        for key in gone {
            let Some(placed) = self.services.remove(&key) else {
                continue;
            };
            let service = &self.arrays.services[placed.place as usize];
            let table = service.table();
            service.publish(Table::default());
            if table.size() > 0 {
                self.retired.push(Retired::Region { start: table.base(), len: table.size() });
            }
            self.retired.push(Retired::Service(placed.id));
            self.retire_backends(placed.id, &[]);
        }
    }

    /// Whether something waits for a grace period.
    #[must_use]
    pub fn has_retired(&self) -> bool {
        !self.retired.is_empty()
    }

    /// How much is waiting now: what [`Tables::reclaim`] may be told once a grace period that
    /// begins after this call has passed.
    #[must_use]
    pub fn retired(&self) -> usize {
        self.retired.len()
    }

    /// Gives back the first `count` of what was retired. No packet reads it any more.
    pub fn reclaim(&mut self, count: usize) {
        let count = count.min(self.retired.len());
        for retired in self.retired.drain(..count) {
            match retired {
                Retired::Region { start, len } => self.regions.give(start, len),
                Retired::Service(id) => self.free_services.push_back(id),
                Retired::Backend(index) => {
                    let unused = self.arrays.backends[usize::from(index)].unused();
                    self.arrays.backends.replace(usize::from(index), unused);
                    self.free_backends.push_back(index);
                }
            }
        }
    }

    pub(super) fn reclaim_now(&mut self) {
        synchronize();
        self.reclaim(self.retired.len());
    }
}

/// Waits until every packet that is being processed now is done: about 10 ms.
///
/// `membarrier(2)` with `MEMBARRIER_CMD_GLOBAL` waits for an RCU grace period, and XDP programs run
/// inside RCU read sections. Kernels booted with `nohz_full` refuse it; there a fixed time passes,
/// far longer than any packet takes.
pub fn synchronize() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
