//! The writer of the kernel's tables.
//!
//! A change is made beside what packets see, then published by one 8-byte store for each service.
//! What packets may still be reading is given back only after [`Tables::reclaim`], which the owner
//! calls when a grace period has passed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
};

use lb_common::{
    Address, Backend, FlowSet, HashKey, NextHop, SLOTS_PER_LINE, Service, ServiceKey, Settings,
    Slot, SlotLine, Table,
};

use super::{
    desired::{CommitError, Committed, DesiredMember, DesiredService, Flows, Route},
    history,
    mapped::Mapped,
    places,
    regions::Regions,
};
use crate::{config::Limits, selection};

/// The arrays that the writer fills.
#[derive(Debug)]
pub struct Arrays {
    /// One value.
    pub settings: Mapped<Settings>,
    /// A power of two of places.
    pub services: Mapped<Service>,
    /// Lines of sixteen slots.
    pub slots: Mapped<SlotLine>,
    /// By index; 0 is unused.
    pub backends: Mapped<Backend>,
    /// A power of two of sets.
    pub flows: Mapped<FlowSet>,
}

/// Lengths of the arrays for the configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Places of `SERVICES`: four for each service, so that chains of moves stay short.
    pub services: u32,
    /// Lines of `SLOTS`.
    pub slots: u32,
    /// Entries of `BACKENDS`, with the unused first.
    pub backends: u32,
    /// Sets of `FLOWS`.
    pub flows: u32,
}

impl From<&Limits> for Lengths {
    fn from(limits: &Limits) -> Self {
        Self {
            services: (limits.services * 4).next_power_of_two(),
            slots: limits.slots.div_ceil(SLOTS_PER_LINE),
            backends: limits.backends + 1,
            flows: limits.flows.div_ceil(FlowSet::FLOWS).next_power_of_two(),
        }
    }
}

impl Arrays {
    /// Memory that no kernel reads, for tests and questions.
    pub fn anonymous(lengths: &Lengths) -> io::Result<Self> {
        Ok(Self {
            settings: Mapped::anonymous(1)?,
            services: Mapped::anonymous(lengths.services as usize)?,
            slots: Mapped::anonymous(lengths.slots as usize)?,
            backends: Mapped::anonymous(lengths.backends as usize)?,
            flows: Mapped::anonymous(lengths.flows as usize)?,
        })
    }
}

/// New entries that one CPU may make in the flow cache in a tick (about a second): more than
/// 50,000 connections a second, of which only those in disputed slots count.
const INSERTS_PER_TICK: u32 = 50_000;

/// The tables and what is known about them.
#[derive(Debug)]
pub struct Tables {
    arrays: Arrays,
    salt: u64,
    services: BTreeMap<ServiceKey, Placed>,
    backends: BTreeMap<(u32, Address), u16>,
    free_services: VecDeque<u32>,
    free_backends: VecDeque<u16>,
    regions: Regions,
    retired: Vec<Retired>,
    /// What the tables say, so that a service that stays as it is costs nothing.
    current: BTreeMap<ServiceKey, DesiredService>,
}

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
}

impl Tables {
    /// Takes over arrays that are zero, or that an earlier daemon has filled with the same key.
    ///
    /// `None` if what is in them contradicts itself or was made with another key.
    #[must_use]
    pub fn adopt(arrays: Arrays, hash_key: HashKey, limits: &Limits) -> Option<Self> {
        let settings = Settings {
            hash_key,
            service_mask: arrays.services.len() as u32 - 1,
            flow_mask: arrays.flows.len() as u32 - 1,
            every_port_services: arrays.settings[0].every_port_services,
            inserts_per_tick: INSERTS_PER_TICK,
        };
        let is_new = arrays.settings[0] == Settings::default();
        if !is_new && arrays.settings[0] != settings {
            return None;
        }
        let slots = arrays.slots.len() as u32 * SLOTS_PER_LINE;
        let mut tables = Self {
            salt: hash_key.destination(0),
            services: BTreeMap::new(),
            backends: BTreeMap::new(),
            free_services: VecDeque::new(),
            free_backends: VecDeque::new(),
            regions: Regions::new(slots),
            retired: Vec::new(),
            current: BTreeMap::new(),
            arrays,
        };
        tables.arrays.settings.replace(0, settings);
        tables.read_services()?;
        tables.read_backends();
        let used: Vec<u32> = tables.services.values().map(|placed| placed.id).collect();
        tables.free_services = (0..limits.services)
            .filter(|id| !used.contains(id))
            .collect();
        Some(tables)
    }

    fn read_services(&mut self) -> Option<()> {
        for place in 0..self.arrays.services.len() {
            let service = &self.arrays.services[place];
            let table = service.table();
            if !table.is_present() {
                continue;
            }
            let placed = Placed {
                place: place as u32,
                id: service.id,
            };
            if self.services.insert(service.key(), placed).is_some() {
                // A move that was cut short: both places hold the same table. Keep this one.
                let earlier =
                    (0..place).find(|other| self.arrays.services[*other].key() == service.key())?;
                self.arrays.services[earlier].publish(Table::default());
            } else if !table.is_empty() && !self.regions.claim(table.base(), table.len()) {
                return None;
            }
        }
        Some(())
    }

    fn read_backends(&mut self) {
        for id in 1..self.arrays.backends.len() as u16 {
            let backend = &self.arrays.backends[usize::from(id)];
            let known = self
                .services
                .values()
                .any(|placed| placed.id == backend.service);
            if backend.forward().is_some() && known {
                self.backends
                    .insert((backend.service, backend.address()), id);
            } else {
                self.free_backends.push_back(id);
            }
        }
    }

    /// The arrays as packets see them.
    #[must_use]
    pub fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    /// Slots in use, and in all.
    #[must_use]
    pub fn slot_usage(&self) -> (u32, u32) {
        (
            self.regions.used(),
            self.arrays.slots.len() as u32 * SLOTS_PER_LINE,
        )
    }

    /// Identifier of a service.
    #[must_use]
    pub fn service_id(&self, key: &ServiceKey) -> Option<u32> {
        self.services.get(key).map(|placed| placed.id)
    }

    /// Index of a backend.
    #[must_use]
    pub fn backend_id(&self, key: &ServiceKey, address: &Address) -> Option<u16> {
        self.backends
            .get(&(self.service_id(key)?, *address))
            .copied()
    }

    /// The slots of a service; empty if it has none.
    #[must_use]
    pub fn slots(&self, key: &ServiceKey) -> Vec<Slot> {
        let Some(placed) = self.services.get(key) else {
            return Vec::new();
        };
        self.read(self.arrays.services[placed.place as usize].table())
    }

    /// Addresses of all backends, with their index.
    pub fn addresses(&self) -> impl Iterator<Item = (Address, u16)> + '_ {
        self.backends
            .iter()
            .map(|((_, address), id)| (*address, *id))
    }

    /// Addresses of backends whose next hop is known.
    pub fn reachable(&self) -> impl Iterator<Item = std::net::IpAddr> + '_ {
        self.addresses()
            .filter(|(_, id)| self.arrays.backends[usize::from(*id)].interface() != 0)
            .map(|(address, _)| address.into())
    }

    /// Makes the tables say what is desired. `route` tells the way to an address.
    ///
    /// Each service changes as a whole or not at all. On an error some services may be as desired
    /// and others as before; the next commit goes on from there.
    pub fn commit(
        &mut self,
        desired: &[DesiredService],
        route: impl Fn(&Address) -> Option<Route>,
    ) -> Result<Committed, CommitError> {
        let mut committed = Committed::default();
        self.announce_every_port(desired);
        for service in desired {
            if self.current.get(&service.key) != Some(service) {
                self.current.remove(&service.key);
                self.commit_service(service, &route, &mut committed)?;
                self.current.insert(service.key, service.clone());
            }
        }
        self.retire_services(desired);
        Ok(committed)
    }

    fn commit_service(
        &mut self,
        service: &DesiredService,
        route: &impl Fn(&Address) -> Option<Route>,
        committed: &mut Committed,
    ) -> Result<(), CommitError> {
        let id = self.identify(service, committed)?;
        let ids = self.enter_backends(id, service, route, committed)?;
        let members: Vec<selection::Member> = service.members.iter().map(member).collect();
        let owners = selection::table(&members, self.salt).map(|owners| {
            owners
                .into_iter()
                .map(|owner| ids[usize::from(owner)])
                .collect::<Vec<_>>()
        });
        let flows: BTreeMap<u16, Flows> = ids
            .iter()
            .copied()
            .zip(service.members.iter().map(|member| member.flows))
            .collect();
        let old = self.slots(&service.key);
        let slots = match owners {
            Some(owners) => {
                let serves = |id| !matches!(flows.get(&id), None | Some(Flows::Leave));
                history::next_slots(&old, &owners, serves)
            }
            None => Vec::new(),
        };
        let place = self.services[&service.key].place as usize;
        if slots != old || !self.arrays.services[place].table().is_present() {
            self.publish(service.key, &old, &slots)?;
            committed.tables += 1;
            committed.moved_slots += moved(&old, &slots);
            self.forget_flows(&flows, &old, &slots);
        }
        self.retire_backends(id, &ids);
        Ok(())
    }

    /// Backends that have just lost their flows must not get them from the flow cache either.
    fn forget_flows(&self, flows: &BTreeMap<u16, Flows>, old: &[Slot], new: &[Slot]) {
        let holds = |slots: &[Slot], id: u16| {
            slots
                .iter()
                .any(|slot| slot.current == id || slot.previous == id)
        };
        for (id, flows) in flows {
            if *flows == Flows::Leave && holds(old, *id) && !holds(new, *id) {
                self.arrays.backends[usize::from(*id)].forget_flows();
            }
        }
    }

    /// The service's identifier; a new service gets a place that packets do not find yet.
    fn identify(
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
        let id = *self
            .free_services
            .front()
            .ok_or(CommitError::ServicesFull)?;
        let place = self
            .make_place(&service.key)
            .ok_or(CommitError::ServicesFull)?;
        self.free_services.pop_front();
        self.arrays
            .services
            .replace(place as usize, Service::unpublished(service.key, id));
        self.services.insert(service.key, Placed { place, id });
        committed.new_services.push(id);
        Ok(id)
    }

    fn make_place(&mut self, key: &ServiceKey) -> Option<u32> {
        let settings = self.arrays.settings[0];
        let services = &self.arrays.services;
        let placed: BTreeMap<u32, ServiceKey> = self
            .services
            .iter()
            .map(|(key, placed)| (placed.place, *key))
            .collect();
        let at = |place: u32| placed.get(&place).copied();
        let path = places::find(key, &settings.hash_key, services.mask(), at)?;
        for (from, to) in path.moves {
            let moving = &self.arrays.services[from as usize];
            let (key, id, table) = (moving.key(), moving.id, moving.table());
            self.arrays
                .services
                .replace(to as usize, Service::unpublished(key, id));
            self.arrays.services[to as usize].publish(table);
            // A packet that missed the new place, which it looks at first, still finds the old.
            synchronize();
            self.arrays.services[from as usize].publish(Table::default());
            self.services.insert(key, Placed { place: to, id });
        }
        Some(path.place)
    }

    /// The index of each member's entry, in their order; new members get one.
    fn enter_backends(
        &mut self,
        id: u32,
        service: &DesiredService,
        route: &impl Fn(&Address) -> Option<Route>,
        committed: &mut Committed,
    ) -> Result<Vec<u16>, CommitError> {
        let mut ids = Vec::with_capacity(service.members.len());
        for member in &service.members {
            let known = self.backends.get(&(id, member.address)).copied();
            let same_way = |index: &u16| {
                self.arrays.backends[usize::from(*index)].forward() == Some(service.forward)
            };
            let index = match known.filter(same_way) {
                Some(index) => index,
                None => {
                    let index = self.enter_backend(id, service, &member.address, route)?;
                    committed.new_backends.push(index);
                    if let Some(former) = known {
                        self.retired.push(Retired::Backend(former));
                    }
                    index
                }
            };
            ids.push(index);
        }
        Ok(ids)
    }

    fn enter_backend(
        &mut self,
        service: u32,
        desired: &DesiredService,
        address: &Address,
        route: &impl Fn(&Address) -> Option<Route>,
    ) -> Result<u16, CommitError> {
        if self.free_backends.is_empty() {
            self.reclaim_now();
        }
        let index = self
            .free_backends
            .pop_front()
            .ok_or(CommitError::BackendsFull)?;
        let generation = self.arrays.backends[usize::from(index)]
            .generation()
            .wrapping_add(1);
        let route = route(address);
        let source = route.map_or(unspecified(address), |route| route.source);
        let entry = Backend::new(service, generation, desired.forward, *address, source);
        entry.set_next_hop(route.map_or(NextHop::default(), |route| route.next));
        self.arrays.backends.replace(usize::from(index), entry);
        self.backends.insert((service, *address), index);
        Ok(index)
    }

    /// Writes the slots beside the old ones and makes packets use them.
    fn publish(
        &mut self,
        key: ServiceKey,
        old: &[Slot],
        slots: &[Slot],
    ) -> Result<(), CommitError> {
        let table = if slots.is_empty() {
            Table::empty()
        } else {
            self.write(slots)?
        };
        let place = self.services[&key].place as usize;
        let former = self.arrays.services[place].table();
        self.arrays.services[place].publish(table);
        if !old.is_empty() {
            self.retired.push(Retired::Region {
                start: former.base(),
                len: former.len(),
            });
        }
        Ok(())
    }

    fn write(&mut self, slots: &[Slot]) -> Result<Table, CommitError> {
        let len = slots.len() as u32;
        let mut start = self.regions.take(len);
        if start.is_none() {
            self.reclaim_now();
            start = self.regions.take(len);
        }
        let start = start.ok_or_else(|| {
            let (used, capacity) = self.slot_usage();
            CommitError::SlotsFull {
                wanted: len,
                used,
                capacity,
            }
        })?;
        for (index, slot) in (start..).zip(slots) {
            self.arrays.slots[SlotLine::of(index) as usize].set(index, *slot);
        }
        Ok(Table::new(start, len.trailing_zeros() as u8))
    }

    fn read(&self, table: Table) -> Vec<Slot> {
        (table.base()..table.base() + table.len())
            .map(|index| self.arrays.slots[SlotLine::of(index) as usize].slot(index))
            .collect()
    }

    /// Services with slots that still remember the backend before a change.
    #[must_use]
    pub fn disputed(&self) -> Vec<ServiceKey> {
        let is_disputed = |key: &&ServiceKey| self.slots(key).iter().any(|slot| slot.is_disputed());
        self.services.keys().filter(is_disputed).copied().collect()
    }

    /// Ends the dispute of a service's slots, except for those whose previous backend drains, and
    /// those of remembered flows that were seen in the last `idle` ticks and would go elsewhere.
    /// Returns how many are still disputed.
    pub fn settle(&self, key: &ServiceKey, idle: u16, drains: impl Fn(u16) -> bool) -> u32 {
        let Some(placed) = self.services.get(key) else {
            return 0;
        };
        let table = self.arrays.services[placed.place as usize].table();
        let slots = self.read(table);
        let alive = self.slots_in_use(placed.id, &slots, idle);
        let settled = history::settled(&slots, |index, slot| {
            drains(slot.previous) || alive.contains(&index)
        });
        for (index, slot) in (table.base()..).zip(&settled) {
            self.arrays.slots[SlotLine::of(index) as usize].set(index, *slot);
        }
        settled.iter().filter(|slot| slot.is_disputed()).count() as u32
    }

    /// Slots, counted from the table's first, with remembered flows that are not their current
    /// backend's. How old a flow is, is told by the youngest of all: the clock is the kernel's.
    fn slots_in_use(&self, service: u32, slots: &[Slot], idle: u16) -> BTreeSet<usize> {
        let flows = || self.arrays.flows.iter().flat_map(FlowSet::iter);
        let Some((_, sample)) = flows().next() else {
            return BTreeSet::new();
        };
        let age = |seen: u16| sample.seen.wrapping_sub(seen) as i16;
        let youngest = flows()
            .map(|(_, flow)| age(flow.seen))
            .min()
            .unwrap_or_default();
        flows()
            .filter(|(_, flow)| {
                let backend = &self.arrays.backends[usize::from(flow.backend)];
                backend.service == service
                    && backend.generation() == flow.generation
                    && i32::from(age(flow.seen)) - i32::from(youngest) <= i32::from(idle)
            })
            .map(|(hash, flow)| (hash as usize & (slots.len() - 1), flow))
            .filter(|(index, flow)| slots[*index].current != flow.backend)
            .map(|(index, _)| index)
            .collect()
    }

    /// Changes the way to an address in all backends that have it.
    pub fn reroute(&mut self, address: &Address, route: Option<Route>) {
        let indices: Vec<u16> = self
            .addresses()
            .filter(|(other, _)| other == address)
            .map(|(_, id)| id)
            .collect();
        for index in indices {
            let entry = &self.arrays.backends[usize::from(index)];
            let next = route.map_or(NextHop::default(), |route| route.next);
            let source = route.map_or(entry.source_address(), |route| route.source);
            if entry.source_address() == source {
                entry.set_next_hop(next);
                continue;
            }
            let Some(forward) = entry.forward() else {
                continue;
            };
            // Without an interface packets do not get as far as the source address.
            entry.set_next_hop(NextHop::default());
            let renewed =
                Backend::new(entry.service, entry.generation(), forward, *address, source);
            self.arrays.backends.replace(usize::from(index), renewed);
            self.arrays.backends[usize::from(index)].set_next_hop(next);
        }
    }

    fn retire_backends(&mut self, service: u32, kept: &[u16]) {
        let gone: Vec<(u32, Address)> = self
            .backends
            .range((service, Address::MIN)..)
            .take_while(|((other, _), _)| *other == service)
            .filter(|(_, index)| !kept.contains(index))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.retired
                .extend(self.backends.remove(&key).map(Retired::Backend));
        }
    }

    fn retire_services(&mut self, desired: &[DesiredService]) {
        let wanted: BTreeSet<ServiceKey> = desired.iter().map(|service| service.key).collect();
        let gone: Vec<ServiceKey> = self
            .services
            .keys()
            .filter(|key| !wanted.contains(key))
            .copied()
            .collect();
        for key in gone {
            let Some(placed) = self.services.remove(&key) else {
                continue;
            };
            let service = &self.arrays.services[placed.place as usize];
            let table = service.table();
            service.publish(Table::default());
            if table.len() > 0 {
                self.retired.push(Retired::Region {
                    start: table.base(),
                    len: table.len(),
                });
            }
            self.retired.push(Retired::Service(placed.id));
            self.retire_backends(placed.id, &[]);
        }
    }

    /// Tells packets whether any service has every port. Before such a service is published the
    /// number is up; after the last is gone a needless look-up or two does no harm.
    fn announce_every_port(&mut self, desired: &[DesiredService]) {
        let number = desired
            .iter()
            .filter(|service| service.key.port() == 0)
            .count() as u32;
        let settings = self.arrays.settings[0];
        if settings.every_port_services != number {
            // One aligned word changes; packets read the others as they were.
            self.arrays.settings.replace(
                0,
                Settings {
                    every_port_services: number,
                    ..settings
                },
            );
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

    fn reclaim_now(&mut self) {
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

const fn member(member: &DesiredMember) -> selection::Member {
    selection::Member {
        address: member.address,
        base_weight: member.base_weight,
        weight: member.weight,
    }
}

const fn unspecified(like: &Address) -> Address {
    Address::from_words([0; 4], like.is_ipv6())
}

fn moved(old: &[Slot], new: &[Slot]) -> u32 {
    if old.len() != new.len() {
        return 0;
    }
    old.iter()
        .zip(new)
        .filter(|(old, new)| old.current != new.current)
        .count() as u32
}

impl Mapped<Service> {
    fn mask(&self) -> u32 {
        self.len() as u32 - 1
    }
}
