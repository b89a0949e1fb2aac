//! Filling new maps with what an earlier daemon has left.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    Backend, HashKey, Policy, SLOTS_PER_LINE, Service, ServiceKey, Settings, Slot, SlotLine, Table,
    policy::flag, settings::feature,
};

use super::former::{Former, FormerService};
use crate::{
    config::Limits,
    datapath::{arrays::Arrays, places},
};

/// What has become of an earlier daemon's maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::datapath) struct Planted {
    /// Services whose slots, and so whose flows, are as they were.
    pub(in crate::datapath) services: u32,
    /// Services for which there was no room, or whose flows are hashed anew.
    pub(in crate::datapath) without_slots: u32,
}

/// Whether every service and backend can keep its number in maps for `limits`.
pub(super) fn keeps_numbers(former: &Former, limits: &Limits) -> bool {
    let is_high = |index: &usize| u32::try_from(*index).is_ok_and(|index| index > limits.backends);
    former.services().all(|service| service.id < limits.services)
        && !(0..former.backends())
            .rev()
            .take_while(is_high)
            .any(|index| former.backend(index as u16).is_some())
}

/// Makes empty arrays look as if an earlier daemon of this version had filled them: with the
/// services, their slots and their backends as they are, of policies no more than must be known of
/// remembered flows. Slots are of use
/// only to flows that are hashed with the same key.
pub(in crate::datapath) fn plant(
    former: &Former,
    arrays: &mut Arrays,
    hash_key: HashKey,
    limits: &Limits,
) -> Planted {
    let settings = Settings {
        hash_key,
        service_mask: arrays.services.len() as u32 - 1,
        flow_mask: arrays.flows.len() as u32 - 1,
        // Translated flows are looked for until the daemon knows that there are none.
        features: if former.translations().is_some() { feature::NAT } else { 0 },
        ..Settings::default()
    };
    arrays.settings.replace(0, settings);
    let is_same_hash = former.is_hashed_with(&hash_key);
    let mut planting =
        Planting { former, arrays, settings, occupants: BTreeMap::new(), next_slot: 0 };
    let services = planting.number_services(limits);
    let backends = planting.backends(&services);
    let mut planted = Planted::default();
    for (service, id) in services {
        let table = is_same_hash.then(|| planting.slots(&service, &backends)).flatten();
        let counted =
            if table.is_some() { &mut planted.services } else { &mut planted.without_slots };
        *counted += 1;
        let table = table.unwrap_or(Table::empty());
        let policy = if service.remembers { planting.remember(id) } else { 0 };
        planting.publish(service.key, id, table.under(policy));
    }
    planted
}

struct Planting<'a> {
    former: &'a Former,
    arrays: &'a mut Arrays,
    settings: Settings,
    /// Who has which place of `SERVICES`.
    occupants: BTreeMap<u32, ServiceKey>,
    next_slot: u32,
}

impl Planting<'_> {
    /// The services and their new identifiers: the old ones where they are below the limit. A service
    /// that was just being moved is there twice; one of both is enough.
    fn number_services(&self, limits: &Limits) -> Vec<(FormerService, u32)> {
        let services: BTreeMap<u32, FormerService> =
            self.former.services().map(|service| (service.id, service)).collect();
        let taken: BTreeSet<u32> = services.keys().copied().collect();
        let mut free = (0..limits.services).filter(|id| !taken.contains(id));
        let number = |service: FormerService| {
            let id = if service.id < limits.services { Some(service.id) } else { free.next() };
            Some((service, id?))
        };
        services.into_values().filter_map(number).collect()
    }

    /// Enters all backends and tells their new indices by the old ones: the same where they fit.
    fn backends(&mut self, services: &[(FormerService, u32)]) -> BTreeMap<u16, u16> {
        let services: BTreeMap<u32, u32> =
            services.iter().map(|(service, id)| (service.id, *id)).collect();
        let len = self.arrays.backends.len();
        let is_free = |index: &u16| self.former.backend(*index).is_none();
        let mut free = (1..len.min(usize::from(u16::MAX) + 1))
            .map(|index| index as u16)
            .filter(is_free)
            .collect::<Vec<_>>()
            .into_iter();
        let mut indices = BTreeMap::new();
        for old in 1..self.former.backends().min(usize::from(u16::MAX) + 1) {
            let Some(backend) = self.former.backend(old as u16) else { continue };
            let Some(service) = services.get(&backend.service) else { continue };
            let Some(new) = (old < len).then_some(old as u16).or_else(|| free.next()) else {
                break;
            };
            self.arrays.backends.replace(usize::from(new), backend.entry(*service));
            indices.insert(old as u16, new);
        }
        indices
    }

    /// Writes a service's slots; `None` if there is no room for all that they say.
    fn slots(&mut self, service: &FormerService, backends: &BTreeMap<u16, u16>) -> Option<Table> {
        let (first, size) = service.slots;
        if size == 0 {
            return Some(Table::empty());
        }
        let room = self.arrays.slots.len() as u32 * SLOTS_PER_LINE - self.next_slot;
        let renumbered =
            |index: u16| if index == 0 { Some(0) } else { backends.get(&index).copied() };
        let slot = |index| {
            let Slot { current, previous } = self.former.slot(index);
            Some(Slot { current: renumbered(current)?, previous: renumbered(previous)? })
        };
        if size > room {
            return None;
        }
        let slots: Vec<Slot> =
            (first..first.checked_add(size)?).map(slot).collect::<Option<_>>()?;
        let base = self.next_slot;
        for (index, slot) in (base..).zip(slots) {
            self.arrays.slots[SlotLine::of(index) as usize].set(index, slot);
        }
        self.next_slot += size;
        Some(Table::new(base, size.trailing_zeros() as u8))
    }

    /// A policy that says no more than that all flows are remembered; the commit replaces it.
    fn remember(&mut self, id: u32) -> u32 {
        let policy = Policy { flags: flag::REMEMBERED, ..Policy::NONE };
        self.arrays.policies.replace(id as usize + 1, policy);
        id + 1
    }

    /// Puts a service where packets will look for it. One that has no place, which the limits make
    /// as good as impossible, is made anew by the commit.
    fn publish(&mut self, key: ServiceKey, id: u32, table: Table) {
        let at = |place: u32| self.occupants.get(&place).copied();
        let Some(path) =
            places::find(&key, &self.settings.hash_key, self.settings.service_mask, at)
        else {
            return;
        };
        for (from, to) in path.moves {
            let service = &self.arrays.services[from as usize];
            let (moving, id, table) = (service.key(), service.id, service.table());
            self.place(to, moving, id, table);
        }
        self.place(path.place, key, id, table);
    }

    fn place(&mut self, place: u32, key: ServiceKey, id: u32, table: Table) {
        self.arrays.services.replace(place as usize, Service::unpublished(key, id));
        self.arrays.services[place as usize].publish(table);
        self.occupants.insert(place, key);
    }
}

/// By which backends of two daemons are the same.
pub(super) fn backend_identity(key: ServiceKey, backend: &Backend) -> Option<Identity> {
    Some((key, backend.address(), backend.forward()? as u8, backend.port()))
}

/// Service, address, way to forward and port.
pub(super) type Identity = (ServiceKey, lb_common::Address, u8, u16);
