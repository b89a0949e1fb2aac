//! The writer of the kernel's tables.
//!
//! A change is made beside what packets see, then published by one 8-byte store for each service.
//! What packets may still be reading is given back only after [`Tables::reclaim`], which the owner
//! calls when a grace period has passed.

mod addresses;
mod adopt;
mod commit;
mod entries;
mod forgetting;
mod generations;
mod loads;
mod movement;
mod policies;
mod retire;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
};

use lb_common::{Address, Backend, Forward, SLOTS_PER_LINE, ServiceKey, Slot, SlotLine, Table};

use super::{arrays::Arrays, desired::DesiredService, regions::Regions, tunnels::Tunnels};
use crate::selection::{self, Movement};

pub(super) use adopt::INSERTS_PER_TICK;
pub use retire::synchronize;

/// The tables and what is known about them.
#[derive(Debug)]
pub struct Tables {
    arrays: Arrays,
    tunnels: Tunnels,
    salt: u64,
    services: BTreeMap<ServiceKey, Placed>,
    backends: BTreeMap<(u32, Address), u16>,
    /// Places of what is known of addresses.
    known_addresses: BTreeMap<ServiceKey, u32>,
    /// Who has which place.
    occupants: BTreeMap<u32, ServiceKey>,
    free_services: VecDeque<u32>,
    free_backends: VecDeque<u16>,
    free_policies: VecDeque<u32>,
    /// Lines of `RANGES`.
    free_lines: VecDeque<u32>,
    /// The kernel's clock ticks in a second.
    hz: u32,
    regions: Regions,
    retired: Vec<(Epoch, Retired)>,
    epoch: Epoch,
    /// Services whose flows may be in the flow cache, by identifier.
    remembered: BTreeSet<u32>,
    /// What the last change of each service moved.
    movements: BTreeMap<ServiceKey, Movement>,
    /// What the tables say, so that a service that stays as it is costs nothing.
    current: BTreeMap<ServiceKey, DesiredService>,
    /// Spares a change of health or weight the larger part of the work.
    bases: selection::Memo,
}

/// Counts grace periods: what was retired in one is free once that one has passed.
pub type Epoch = u64;

#[derive(Clone, Copy, Debug)]
struct Placed {
    place: u32,
    id: u32,
}

/// What packets may read until a grace period has passed.
#[derive(Debug)]
enum Retired {
    Region { start: u32, len: u32 },
    Backend(u16),
    Service(u32),
    Place(u32),
    Policy(u32),
    Line(u32),
}

impl Tables {
    /// The arrays as packets see them.
    #[must_use]
    pub fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    /// What tunnels show from now on; those to backends that are there once their way is told.
    pub fn set_tunnels(&mut self, tunnels: Tunnels) {
        self.tunnels = tunnels;
    }

    /// Slots in use, and in all.
    #[must_use]
    pub fn slot_usage(&self) -> (u32, u32) {
        (self.regions.used(), self.arrays.slots.len() as u32 * SLOTS_PER_LINE)
    }

    /// Identifier of a service.
    #[must_use]
    pub fn service_id(&self, key: &ServiceKey) -> Option<u32> {
        self.services.get(key).map(|placed| placed.id)
    }

    /// Index of a backend.
    #[must_use]
    pub fn backend_id(&self, key: &ServiceKey, address: &Address) -> Option<u16> {
        self.backends.get(&(self.service_id(key)?, *address)).copied()
    }

    /// The slots of a service; empty if it has none.
    #[must_use]
    pub fn slots(&self, key: &ServiceKey) -> Vec<Slot> {
        let Some(placed) = self.services.get(key) else {
            return Vec::new();
        };
        self.read(self.arrays.services[placed.place as usize].table())
    }

    fn read(&self, table: Table) -> Vec<Slot> {
        (table.base()..table.base() + table.size())
            .map(|index| self.arrays.slots[SlotLine::of(index) as usize].slot(index))
            .collect()
    }

    /// Addresses of a service's backends.
    #[must_use]
    pub fn members(&self, key: &ServiceKey) -> Vec<Address> {
        let Some(id) = self.service_id(key) else {
            return Vec::new();
        };
        let from_here = self.backends.range((id, Address::MIN)..);
        let of_service = from_here.take_while(|((other, _), _)| *other == id);
        of_service.map(|((_, member), _)| *member).collect()
    }

    /// Those of them that have slots for new flows.
    #[must_use]
    pub fn serving_members(&self, key: &ServiceKey) -> BTreeSet<Address> {
        let current: BTreeSet<u16> = self.slots(key).iter().map(|slot| slot.current).collect();
        let serves = |member: &Address| {
            self.backend_id(key, member).is_some_and(|index| current.contains(&index))
        };
        self.members(key).into_iter().filter(serves).collect()
    }

    /// The own port of a service's backend; 0 where packets keep the one that clients reach.
    #[must_use]
    pub fn translated_port(&self, key: &ServiceKey, address: &Address) -> u16 {
        let entry = self.backend_id(key, address).map(|id| &self.arrays.backends[usize::from(id)]);
        let entry = entry.filter(|entry| entry.forward() == Some(Forward::Nat));
        entry.map_or(0, Backend::port)
    }

    /// Addresses of all backends, with their index.
    pub fn addresses(&self) -> impl Iterator<Item = (Address, u16)> + '_ {
        self.backends.iter().map(|((_, address), id)| (*address, *id))
    }

    /// Addresses of backends whose next hop is known.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses()
            .filter(|(_, id)| self.arrays.backends[usize::from(*id)].interface() != 0)
            .map(|(address, _)| address.into())
    }
}

#[cfg(test)]
mod tests;
