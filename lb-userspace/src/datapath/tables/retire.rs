//! Giving back what packets may still be reading, once they do not.

use std::collections::BTreeSet;

use lb_common::{Address, ServiceKey, Table};

use super::{Epoch, Retired, Tables};
use crate::datapath::desired::DesiredService;

impl Tables {
    pub(super) fn retire(&mut self, retired: impl IntoIterator<Item = Retired>) {
        let epoch = self.epoch;
        self.retired.extend(retired.into_iter().map(|retired| (epoch, retired)));
    }

    pub(super) fn retire_backends(&mut self, service: u32, kept: &[u16]) {
        let gone: Vec<(u32, Address)> = self
            .backends
            .range((service, Address::MIN)..)
            .take_while(|((other, _), _)| *other == service)
            .filter(|(_, index)| !kept.contains(index))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            let Some(index) = self.backends.remove(&key) else { continue };
            // Flows that are remembered whatever the table says must not wait for a grace period.
            self.forget_flows(index);
            self.retire([Retired::Backend(index)]);
        }
    }

    pub(super) fn retire_services(&mut self, desired: &[DesiredService]) {
        let wanted: BTreeSet<ServiceKey> = desired.iter().map(|service| service.key).collect();
        let gone: Vec<ServiceKey> =
            self.services.keys().filter(|key| !wanted.contains(key)).copied().collect();
        for key in gone {
            let Some(placed) = self.services.remove(&key) else { continue };
            self.current.remove(&key);
            self.bases.forget(&key);
            self.movements.remove(&key);
            let service = &self.arrays.services[placed.place as usize];
            let table = service.table();
            service.publish(Table::default());
            if table.size() > 0 {
                self.retire([Retired::Region { start: table.base(), len: table.size() }]);
            }
            self.occupants.remove(&placed.place);
            self.retire([Retired::Place(placed.place), Retired::Service(placed.id)]);
            self.retire_policy(table.policy());
            self.retire_backends(placed.id, &[]);
        }
    }

    /// Begins a grace period for all that was retired so far, if there is anything. Once it has
    /// passed, [`Tables::reclaim`] is to be told the epoch.
    pub fn begin_grace(&mut self) -> Option<Epoch> {
        if self.retired.is_empty() {
            return None;
        }
        self.epoch += 1;
        Some(self.epoch - 1)
    }

    /// Gives back what was retired up to an epoch. No packet reads it any more.
    pub fn reclaim(&mut self, epoch: Epoch) {
        let (free, kept) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|(retired, _)| *retired <= epoch);
        self.retired = kept;
        for (_, retired) in free {
            self.give_back(&retired);
        }
    }

    fn give_back(&mut self, retired: &Retired) {
        match *retired {
            Retired::Region { start, len } => self.regions.give(start, len),
            Retired::Service(id) => {
                self.remembered.remove(&id);
                self.free_services.push_back(id);
            }
            Retired::Policy(index) => self.give_policy(index),
            Retired::Line(line) => self.free_lines.push_back(line),
            // Nothing holds a place but that somebody may be reading it.
            Retired::Place(_) => {}
            Retired::Backend(index) => self.give_backend(index),
        }
    }

    /// Gives back an entry that no packet reads.
    pub(super) fn give_backend(&mut self, index: u16) {
        let unused = self.arrays.backends[usize::from(index)].unused();
        self.arrays.backends.replace(usize::from(index), unused);
        self.free_backends.push_back(index);
    }

    pub(super) fn reclaim_now(&mut self) {
        if let Some(epoch) = self.begin_grace() {
            synchronize();
            self.reclaim(epoch);
        }
    }

    /// Whether packets may still be reading a place that a service has left.
    pub(super) fn is_resting(&self, place: u32) -> bool {
        self.retired.iter().any(|(_, retired)| matches!(retired, Retired::Place(p) if *p == place))
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
