//! From what is desired to what packets read.

use std::collections::BTreeSet;

use lb_common::{
    Address, Forward, Settings, Slot, SlotLine, Table, policy::flag, service::UDP,
    settings::feature,
};

use super::{Retired, Tables, forgetting::Change};
use crate::{
    datapath::{
        desired::{CommitError, Committed, DesiredMember, DesiredService, Route},
        history,
    },
    selection,
};

impl Tables {
    /// Makes the tables say what is desired. `route` tells the way to an address, for packets that
    /// are forwarded like this.
    ///
    /// Each service changes as a whole or not at all. One that does not fit stays as it was, and does
    /// not keep others from changing.
    #[must_use = "some services may have been refused"]
    pub fn commit(
        &mut self,
        desired: &[DesiredService],
        route: impl Fn(Forward, &Address) -> Option<Route>,
    ) -> Committed {
        let mut committed = Committed::default();
        let features = desired.iter().map(features).fold(0, |all, service| all | service);
        let before = self.arrays.settings[0].features;
        self.announce(features | before);
        let waiting = self.retired.len();
        // First what is new: packets find a service until they find the one that takes its place.
        self.enter(desired, &route, &mut committed);
        self.retire_prefixes(desired);
        self.retire_addresses(desired);
        self.retire_services(desired);
        if committed.refused.is_some() && self.retired.len() > waiting {
            // There may be room now.
            committed.refused = None;
            self.enter(desired, &route, &mut committed);
        }
        // Flows that are translated outlive the services that they began with.
        self.announce(features | before & feature::NAT);
        committed
    }

    /// Lets packets find what is desired.
    fn enter(
        &mut self,
        desired: &[DesiredService],
        route: &impl Fn(Forward, &Address) -> Option<Route>,
        committed: &mut Committed,
    ) {
        for service in desired {
            if self.current.get(&service.key) == Some(service) {
                continue;
            }
            if let Err(error) = self.commit_service(service, route, committed) {
                committed.refused.get_or_insert(error);
            } else {
                self.current.insert(service.key, service.clone());
            }
        }
        for result in [self.enter_addresses(desired), self.enter_prefixes(desired)] {
            if let Err(error) = result {
                committed.refused.get_or_insert(error);
            }
        }
    }

    fn commit_service(
        &mut self,
        service: &DesiredService,
        route: &impl Fn(Forward, &Address) -> Option<Route>,
        committed: &mut Committed,
    ) -> Result<(), CommitError> {
        let id = self.identify(service, committed)?;
        let entered = match self.enter_backends(id, service, route) {
            Err(CommitError::BackendsFull) if self.make_room(id, service, route, committed) => {
                self.enter_backends(id, service, route)
            }
            entered => entered,
        }?;
        if let Err(error) = self.commit_table(id, service, &entered.ids, committed) {
            self.give_up(entered);
            return Err(error);
        }
        let ids = self.keep(id, entered, committed);
        self.forget_lost(service, &ids);
        self.retire_backends(id, &ids);
        Ok(())
    }

    /// Lets backends go whose entries others are to have. False if that frees none, or if nobody
    /// would take new flows meanwhile.
    fn make_room(
        &mut self,
        id: u32,
        service: &DesiredService,
        route: &impl Fn(Forward, &Address) -> Option<Route>,
        committed: &mut Committed,
    ) -> bool {
        let known = self.members(&service.key);
        let stays = |member: &&DesiredMember| {
            let index = self.backends.get(&(id, member.address));
            index.is_some_and(|index| self.is_entered(*index, service, member))
        };
        let members: Vec<_> = service.members.iter().filter(stays).copied().collect();
        let serves = members.iter().any(|member| member.weight > 0);
        if !serves || members.len() == service.members.len() || members.len() == known.len() {
            return false;
        }
        let fewer = DesiredService { members, ..service.clone() };
        let is_done = self.commit_service(&fewer, route, committed).is_ok();
        if is_done {
            self.current.insert(service.key, fewer);
            self.reclaim_now();
        }
        is_done
    }

    /// Puts a service's table and policy in force. `ids` are the backends' indices in the order of
    /// the members.
    fn commit_table(
        &mut self,
        id: u32,
        service: &DesiredService,
        ids: &[u16],
        committed: &mut Committed,
    ) -> Result<(), CommitError> {
        let place = self.services[&service.key].place as usize;
        let before = self.arrays.services[place].table();
        let old = self.slots(&service.key);
        let did_remember = self.arrays.policies[before.policy() as usize].asks(flag::REMEMBERED);
        let slots = self.next_slots(service, ids, &old, did_remember);
        let policy = self.enter_policy(service, ids, before.policy())?;
        if slots != old || !before.is_present() {
            let table = self.write_beside(&slots, policy, before)?;
            self.forget_stale(id, service, &Change { old: &old, new: &slots, did_remember });
            self.loosen(service, ids);
            self.arrays.services[place].publish(table.under(policy));
            if before.size() > 0 {
                self.retire([Retired::Region { start: before.base(), len: before.size() }]);
            }
            self.note_movement(id, service, ids, [&old, &slots]);
            committed.tables.push(service.key);
            committed.moved_slots += moved(&old, &slots);
        } else {
            self.forget_stale(id, service, &Change { old: &old, new: &slots, did_remember });
            self.loosen(service, ids);
            if policy != before.policy() {
                self.arrays.services[place].publish(before.under(policy));
            }
        }
        self.tighten(service, ids);
        if policy != before.policy() {
            self.retire_policy(before.policy());
        }
        Ok(())
    }

    /// The slots of a service after a change, by its backends' indices.
    fn next_slots(
        &mut self,
        service: &DesiredService,
        ids: &[u16],
        old: &[Slot],
        did_remember: bool,
    ) -> Vec<Slot> {
        let (placed, members): (Vec<u16>, Vec<selection::Member>) =
            service.sharers().map(|(place, member)| (ids[place], member)).unzip();
        let bits = service.table_bits();
        let owners = self.bases.table_of(&service.key, &members, self.salt, bits).map(|owners| {
            owners.into_iter().map(|owner| placed[usize::from(owner)]).collect::<Vec<_>>()
        });
        let all = service.members.iter().zip(ids);
        let serving: BTreeSet<u16> =
            all.filter(|(member, _)| member.flows.are_known()).map(|(_, id)| *id).collect();
        let serves = |id| serving.contains(&id);
        // UDP follows the table or is remembered, and so is whatever is translated.
        if service.key.protocol() == UDP || service.policy.nat_ports.is_some() {
            return history::without_past(&owners.unwrap_or_default());
        }
        let doubted;
        let old = if did_remember && !service.policy.remembers() {
            doubted = history::doubted(old);
            &doubted
        } else {
            old
        };
        match owners {
            Some(owners) => history::next_slots(old, &owners, serves),
            None => history::last_slots(old, serves, serving.first().copied().unwrap_or_default()),
        }
    }

    /// Writes slots beside the old ones. A policy that no table names yet is given back if there is
    /// no room.
    fn write_beside(
        &mut self,
        slots: &[Slot],
        policy: u32,
        former: Table,
    ) -> Result<Table, CommitError> {
        if slots.is_empty() {
            return Ok(Table::empty());
        }
        self.write(slots).inspect_err(|_| {
            if policy != 0 && policy != former.policy() {
                self.give_policy(policy);
            }
        })
    }

    pub(super) fn write(&mut self, slots: &[Slot]) -> Result<Table, CommitError> {
        let start = self.write_slots(slots)?;
        Ok(Table::new(start, slots.len().trailing_zeros() as u8))
    }

    /// Writes slots to where nobody reads. Returns where they start.
    pub(super) fn write_slots(&mut self, slots: &[Slot]) -> Result<u32, CommitError> {
        let len = slots.len() as u32;
        let mut start = self.regions.take(len);
        if start.is_none() {
            self.reclaim_now();
            start = self.regions.take(len);
        }
        let start = start.ok_or_else(|| {
            let (used, capacity) = self.slot_usage();
            CommitError::SlotsFull { wanted: len, used, capacity }
        })?;
        for (index, slot) in (start..).zip(slots) {
            self.arrays.slots[SlotLine::of(index) as usize].set(index, *slot);
        }
        Ok(start)
    }

    /// Whether packets find a service that translates.
    #[must_use]
    pub fn translates(&self) -> bool {
        self.services.values().any(|placed| {
            let table = self.arrays.services[placed.place as usize].table();
            self.arrays.policies[table.policy() as usize].flags & flag::NAT != 0
        })
    }

    /// Packets do not look for translated flows any more: there are none.
    pub fn end_translation(&mut self) {
        self.announce(self.arrays.settings[0].features & !feature::NAT);
    }

    /// Tells packets which further look-ups they need.
    fn announce(&mut self, features: u32) {
        let settings = self.arrays.settings[0];
        if settings.features != features {
            // One aligned word changes; packets read the others as they were.
            self.arrays.settings.replace(0, Settings { features, ..settings });
        }
    }
}

/// The look-ups that a service needs, as bits of [`feature`].
const fn features(service: &DesiredService) -> u32 {
    let key = &service.key;
    let ports = match (key.is_range(), key.port()) {
        (true, _) => feature::RANGES,
        (false, 0) => feature::EVERY_PORT,
        (false, _) => 0,
    };
    let prefixes = if key.prefix_length().is_some() { feature::PREFIXES } else { 0 };
    let nat = if service.policy.nat_ports.is_some() { feature::NAT } else { 0 };
    let remembered = if service.policy.remembers() { feature::REMEMBERED } else { 0 };
    ports | prefixes | nat | remembered
}

fn moved(old: &[Slot], new: &[Slot]) -> u32 {
    if old.len() != new.len() {
        return 0;
    }
    old.iter().zip(new).filter(|(old, new)| old.current != new.current).count() as u32
}
