//! What packets are told of flows whose backend takes no new ones, and what they must not find in the
//! flow cache any more.

use lb_common::{Address, Slot, backend::Stance};

use super::Tables;
use crate::datapath::desired::{DesiredMember, DesiredService, Flows};

/// The slots of a service before and after a change.
pub(super) struct Change<'a> {
    pub(super) old: &'a [Slot],
    pub(super) new: &'a [Slot],
    /// Whether all its flows were remembered before.
    pub(super) did_remember: bool,
}

impl Tables {
    /// Lets packets see what backends do with flows, as far as it allows more than before: before a
    /// table sends them such flows.
    pub(super) fn loosen(&self, service: &DesiredService, ids: &[u16]) {
        self.take_stances(service, ids, |stance| stance != Stance::Resets);
    }

    /// The same for what allows less: once no table sends them flows any more that are not over.
    pub(super) fn tighten(&self, service: &DesiredService, ids: &[u16]) {
        self.take_stances(service, ids, |stance| stance == Stance::Resets);
    }

    fn take_stances(&self, service: &DesiredService, ids: &[u16], is_due: impl Fn(Stance) -> bool) {
        for (member, id) in service.members.iter().zip(ids) {
            let (entry, stance) = (&self.arrays.backends[usize::from(*id)], member.flows.stance());
            if is_due(stance) && entry.stance() != stance {
                entry.set_stance(stance);
            }
        }
    }

    /// Backends that have just lost their flows lose those too that are remembered, whatever slots
    /// say.
    pub(super) fn forget_lost(&self, service: &DesiredService, ids: &[u16]) {
        let leaves = |member: &DesiredMember| member.flows == Flows::Leave;
        let has_left = |address: &Address| {
            let former = self.current.get(&service.key);
            let members = former.map_or(&[][..], |former| &former.members);
            members.iter().any(|member| member.address == *address && leaves(member))
        };
        for (member, id) in service.members.iter().zip(ids) {
            if leaves(member) && !has_left(&member.address) {
                self.forget_flows(*id);
            }
        }
    }

    /// Nobody writes to the flow cache for a slot that is not disputed, unless the service remembers
    /// all flows: what it remembers of one that is asked about from now on is from an earlier time,
    /// and its flows may have gone elsewhere since.
    pub(super) fn forget_stale(&mut self, id: u32, service: &DesiredService, change: &Change<'_>) {
        let remembers = service.policy.remembers();
        let is_asked = |slots: &[Slot], flow: u64| {
            !slots.is_empty() && slots[flow as usize & (slots.len() - 1)].is_disputed()
        };
        let is_new =
            |flow: u64| !is_asked(change.old, flow) && (remembers || is_asked(change.new, flow));
        let has_any = remembers || (0..change.new.len() as u64).any(is_new);
        if change.did_remember || !has_any || self.remembered.insert(id) {
            return;
        }
        for set in self.arrays.flows.iter() {
            set.forget(|flow, found| {
                self.arrays.backends[usize::from(found.backend)].service() == id && is_new(flow)
            });
        }
    }
}
