//! From what is desired to what packets read.

use std::collections::BTreeMap;

use lb_common::{
    Address, Forward, ServiceKey, Settings, Slot, SlotLine, Table, policy::flag, service::UDP,
    settings::feature,
};

use super::{Retired, Tables};
use crate::{
    datapath::{
        desired::{CommitError, Committed, DesiredMember, DesiredService, Flows, Route},
        history,
        policies::DesiredUdp,
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
        // First what is new: packets find a service until they find the one that takes its place.
        self.enter(desired, &route, &mut committed);
        let waiting = self.retired.len();
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
        let entered = self.enter_backends(id, service, route)?;
        if let Err(error) = self.commit_table(id, service, &entered.ids, committed) {
            self.give_up(entered);
            return Err(error);
        }
        let ids = self.keep(id, entered, committed);
        self.forget_remembered(service, &ids);
        self.retire_backends(id, &ids);
        Ok(())
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
        let members: Vec<selection::Member> = service.members.iter().map(member).collect();
        let owners = selection::table(&members, self.salt).map(|owners| {
            owners.into_iter().map(|owner| ids[usize::from(owner)]).collect::<Vec<_>>()
        });
        let flows: BTreeMap<u16, Flows> =
            ids.iter().copied().zip(service.members.iter().map(|member| member.flows)).collect();
        let old = self.slots(&service.key);
        let serves = |id| !matches!(flows.get(&id), None | Some(Flows::Leave));
        let slots = match owners {
            // UDP follows the table or is remembered, so its slots need no past.
            owners if service.key.protocol() == UDP => {
                history::without_past(&owners.unwrap_or_default())
            }
            Some(owners) => history::next_slots(&old, &owners, serves),
            None => history::last_slots(&old, serves),
        };
        let place = self.services[&service.key].place as usize;
        let before = self.arrays.services[place].table();
        let policy = self.enter_policy(service, ids, before.policy())?;
        if slots != old || !before.is_present() {
            self.forget_stale(id, &old, &slots);
            self.publish(service.key, &slots, policy)?;
            committed.tables.push(service.key);
            committed.moved_slots += moved(&old, &slots);
            self.forget_flows(&flows, &old, &slots);
        } else if policy != before.policy() {
            self.arrays.services[place].publish(before.under(policy));
        }
        if policy != before.policy() {
            self.retire_policy(before.policy());
        }
        Ok(())
    }

    /// Backends that have just gone down lose the flows that are remembered whatever slots say.
    fn forget_remembered(&self, service: &DesiredService, ids: &[u16]) {
        if !matches!(service.policy.udp, DesiredUdp::Remember(_)) {
            return;
        }
        let leaves = |member: &DesiredMember| member.flows == Flows::Leave;
        let has_left = |address: &Address| {
            let former = self.current.get(&service.key);
            let members = former.map_or(&[][..], |former| &former.members);
            members.iter().any(|member| member.address == *address && leaves(member))
        };
        for (member, id) in service.members.iter().zip(ids) {
            if leaves(member) && !has_left(&member.address) {
                self.arrays.backends[usize::from(*id)].forget_flows();
            }
        }
    }

    /// Nobody writes to the flow cache for a slot that is not disputed, so what it remembers of one
    /// that becomes so is from an earlier dispute, and its flows may have gone elsewhere since.
    fn forget_stale(&mut self, service: u32, old: &[Slot], new: &[Slot]) {
        let was_disputed =
            |index: usize| !old.is_empty() && old[index & (old.len() - 1)].is_disputed();
        let is_new = |index: usize| new[index].is_disputed() && !was_disputed(index);
        if !(0..new.len()).any(is_new) || self.remembered.insert(service) {
            return;
        }
        for set in self.arrays.flows.iter() {
            set.forget(|hash, flow| {
                self.arrays.backends[usize::from(flow.backend)].service == service
                    && is_new(hash as usize & (new.len() - 1))
            });
        }
    }

    /// Backends that have just lost their flows must not get them from the flow cache either.
    pub(super) fn forget_flows(&self, flows: &BTreeMap<u16, Flows>, old: &[Slot], new: &[Slot]) {
        let holds = |slots: &[Slot], id: u16| {
            slots.iter().any(|slot| slot.current == id || slot.previous == id)
        };
        for (id, flows) in flows {
            if *flows == Flows::Leave && holds(old, *id) && !holds(new, *id) {
                self.arrays.backends[usize::from(*id)].forget_flows();
            }
        }
    }

    /// Writes the slots beside the old ones and makes packets use them, under a policy. A policy
    /// that no table names yet is given back if there is no room.
    fn publish(&mut self, key: ServiceKey, slots: &[Slot], policy: u32) -> Result<(), CommitError> {
        let place = self.services[&key].place as usize;
        let former = self.arrays.services[place].table();
        let table = if slots.is_empty() { Ok(Table::empty()) } else { self.write(slots) };
        let table = table.inspect_err(|_| {
            if policy != 0 && policy != former.policy() {
                self.give_policy(policy);
            }
        })?;
        self.arrays.services[place].publish(table.under(policy));
        if former.size() > 0 {
            self.retire([Retired::Region { start: former.base(), len: former.size() }]);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, slots: &[Slot]) -> Result<Table, CommitError> {
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
        Ok(Table::new(start, len.trailing_zeros() as u8))
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
    ports | prefixes | nat
}

const fn member(member: &DesiredMember) -> selection::Member {
    selection::Member {
        address: member.address,
        base_weight: member.base_weight,
        weight: member.weight,
    }
}

fn moved(old: &[Slot], new: &[Slot]) -> u32 {
    if old.len() != new.len() {
        return 0;
    }
    old.iter().zip(new).filter(|(old, new)| old.current != new.current).count() as u32
}
