//! Places of services and indices of backends.

use lb_common::{Address, Forward, NextHop, Service, ServiceKey, Table, load::Load};

use super::{Placed, Retired, Tables, retire::synchronize};
use crate::datapath::{
    desired::{CommitError, Committed, DesiredMember, DesiredService, Route},
    places,
};

/// The entries of a service's backends, before packets come to them.
#[derive(Default)]
pub(super) struct Entered {
    /// Their indices in the order of the members.
    pub(super) ids: Vec<u16>,
    /// Those that were made for it.
    fresh: Vec<(Address, u16)>,
}

impl Tables {
    /// The service's identifier; a new service gets a place that packets do not find yet.
    pub(super) fn identify(
        &mut self,
        service: &DesiredService,
        committed: &mut Committed,
    ) -> Result<u32, CommitError> {
        if let Some(placed) = self.services.get(&service.key) {
            return Ok(placed.id);
        }
        if self.free_services.is_empty() {
            self.reclaim_now();
        }
        let id = *self.free_services.front().ok_or(CommitError::ServicesFull)?;
        let place = self.free_place(&service.key).ok_or(CommitError::ServicesFull)?;
        self.free_services.retain(|free| *free != id);
        self.arrays.services.replace(place as usize, Service::unpublished(service.key, id));
        self.services.insert(service.key, Placed { place, id });
        committed.new_services.push(id);
        Ok(id)
    }

    /// A place that no packet reads, which is the key's from now on.
    pub(super) fn free_place(&mut self, key: &ServiceKey) -> Option<u32> {
        let place = self.make_place(key)?;
        if self.is_resting(place) {
            self.reclaim_now();
        }
        self.occupants.insert(place, *key);
        Some(place)
    }

    fn make_place(&mut self, key: &ServiceKey) -> Option<u32> {
        let settings = self.arrays.settings[0];
        let services = &self.arrays.services;
        let at = |place: u32| self.occupants.get(&place).copied();
        let path = places::find(key, &settings.hash_key, services.len() as u32 - 1, at)?;
        for (from, to) in path.moves {
            let moving = &self.arrays.services[from as usize];
            let (key, id, table) = (moving.key(), moving.id, moving.table());
            self.occupants.remove(&from);
            self.occupants.insert(to, key);
            self.arrays.services.replace(to as usize, Service::unpublished(key, id));
            self.arrays.services[to as usize].publish(table);
            // A packet that missed the new place, which it looks at first, still finds the old.
            synchronize();
            self.arrays.services[from as usize].publish(Table::default());
            if key.is_address() {
                self.known_addresses.insert(key, to);
            } else {
                self.services.insert(key, Placed { place: to, id });
            }
        }
        Some(path.place)
    }

    /// The index of each member's entry, in their order. New members get one, and those that are
    /// reached in another way than before get another one. Those in use stay as they are until
    /// [`Tables::keep`]; without room for all nothing is entered.
    pub(super) fn enter_backends(
        &mut self,
        id: u32,
        service: &DesiredService,
        route: &impl Fn(Forward, &Address) -> Option<Route>,
    ) -> Result<Entered, CommitError> {
        let mut entered = Entered::default();
        for member in &service.members {
            let known = self.backends.get(&(id, member.address)).copied();
            if let Some(index) = known.filter(|index| self.is_entered(*index, service, member)) {
                entered.ids.push(index);
                continue;
            }
            match self.enter_backend(id, service, member, route) {
                Ok(index) => {
                    entered.fresh.push((member.address, index));
                    entered.ids.push(index);
                }
                Err(error) => {
                    self.give_up(entered);
                    return Err(error);
                }
            }
        }
        Ok(entered)
    }

    /// Whether an entry reaches a member as it is to be reached.
    pub(super) fn is_entered(
        &self,
        index: u16,
        service: &DesiredService,
        member: &DesiredMember,
    ) -> bool {
        let entry = &self.arrays.backends[usize::from(index)];
        let same_port = service.forward != Forward::Nat || entry.port() == member.port;
        entry.forward() == Some(service.forward) && same_port
    }

    /// Takes over entries that packets come to now, and retires those that they replace. Returns
    /// the indices in the order of the members.
    pub(super) fn keep(
        &mut self,
        service: u32,
        entered: Entered,
        committed: &mut Committed,
    ) -> Vec<u16> {
        for (address, index) in entered.fresh {
            committed.new_backends.push(index);
            let former = self.backends.insert((service, address), index);
            self.retire(former.map(Retired::Backend));
        }
        entered.ids
    }

    /// Gives back entries that no packet has come to.
    pub(super) fn give_up(&mut self, entered: Entered) {
        for (_, index) in entered.fresh {
            self.give_backend(index);
        }
    }

    fn enter_backend(
        &mut self,
        service: u32,
        desired: &DesiredService,
        member: &DesiredMember,
        route: &impl Fn(Forward, &Address) -> Option<Route>,
    ) -> Result<u16, CommitError> {
        let address = &member.address;
        if self.free_backends.is_empty() {
            self.reclaim_now();
        }
        let index = self.free_backends.pop_front().ok_or(CommitError::BackendsFull)?;
        self.forget_flows(index);
        let generation = self.arrays.backends[usize::from(index)].generation();
        let route = route(desired.forward, address);
        let source = route.map_or(unspecified(address), |route| route.source);
        let entry = self.tunnels.entry(service, generation, desired.forward, *address, source);
        let entry =
            if desired.forward == Forward::Nat { entry.at_port(member.port) } else { entry };
        entry.set_next_hop(route.map_or(NextHop::default(), |route| route.next));
        self.arrays.backends.replace(usize::from(index), entry);
        self.arrays.loads.replace(usize::from(index), Load::default());
        Ok(index)
    }

    /// Changes the way to an address in all backends that have it. `route` tells it for each way to
    /// forward.
    pub fn reroute(&mut self, address: &Address, route: impl Fn(Forward) -> Option<Route>) {
        let indices: Vec<u16> =
            self.addresses().filter(|(other, _)| other == address).map(|(_, id)| id).collect();
        for index in indices {
            let entry = &self.arrays.backends[usize::from(index)];
            let Some(forward) = entry.forward() else { continue };
            let route = route(forward);
            let next = route.map_or(NextHop::default(), |route| route.next);
            let source = route.map_or(entry.source_address(), |route| route.source);
            let Some(renewed) = self.tunnels.renew(entry, source) else {
                entry.set_next_hop(next);
                continue;
            };
            // Without an interface packets do not get as far as the source address.
            entry.set_next_hop(NextHop::default());
            self.arrays.backends.replace(usize::from(index), renewed);
            self.arrays.backends[usize::from(index)].set_next_hop(next);
        }
    }
}

const fn unspecified(like: &Address) -> Address {
    Address::from_words([0; 4], like.is_ipv6())
}
