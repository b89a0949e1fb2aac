//! Taking over what an earlier daemon has left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lb_common::{HashKey, SLOTS_PER_LINE, Settings, Slot, Table, flow};

use super::{Placed, Retired, Tables};
use crate::{
    config::Limits,
    datapath::{arrays::Arrays, clock, regions::Regions, tunnels::Tunnels},
    selection,
};

/// New entries that one CPU may make in the flow cache in a tick (about a second). Flows beyond it
/// keep to the previous backend of their slot, so a low number only makes a change slower, where a
/// high one lets a flood push out flows that are remembered.
pub(in crate::datapath) const INSERTS_PER_TICK: u32 = 10_000;

/// ICMP errors, echo replies and resets that one CPU may send in a tick: enough for operators who
/// look around, too few to make a weapon of.
const REPLIES_PER_TICK: u32 = 1000;

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
            features: arrays.settings[0].features,
            inserts_per_tick: INSERTS_PER_TICK,
            replies_per_tick: REPLIES_PER_TICK,
            fragment_mask: arrays.fragments.len() as u32 - 1,
            source_mask: arrays.source_buckets.len() as u32 - 1,
            hz: clock::hz(),
            tick: flow::tick(clock::hz()).into(),
        };
        let before = arrays.settings[0];
        let is_new = before == Settings::default();
        let masks = |settings: &Settings| (settings.service_mask, settings.flow_mask);
        if !is_new && (before.hash_key != hash_key || masks(&before) != masks(&settings)) {
            return None;
        }
        let slots = arrays.slots.len() as u32 * SLOTS_PER_LINE;
        let mut tables = Self {
            tunnels: Tunnels::default(),
            salt: hash_key.destination(0),
            services: BTreeMap::new(),
            backends: BTreeMap::new(),
            known_addresses: BTreeMap::new(),
            occupants: BTreeMap::new(),
            free_services: VecDeque::new(),
            free_backends: VecDeque::new(),
            free_policies: VecDeque::new(),
            free_lines: VecDeque::new(),
            hz: clock::hz(),
            regions: Regions::new(slots),
            retired: Vec::new(),
            epoch: 0,
            remembered: BTreeSet::new(),
            current: BTreeMap::new(),
            movements: BTreeMap::new(),
            bases: selection::Memo::default(),
            arrays,
        };
        tables.arrays.settings.replace(0, settings);
        tables.read_services()?;
        tables.read_policies()?;
        tables.read_lines()?;
        tables.read_backends();
        let used: Vec<u32> = tables.services.values().map(|placed| placed.id).collect();
        tables.remembered = used.iter().copied().collect();
        tables.free_services = (0..limits.services).filter(|id| !used.contains(id)).collect();
        Some(tables)
    }

    pub(super) fn read_services(&mut self) -> Option<()> {
        for place in 0..self.arrays.services.len() {
            let service = &self.arrays.services[place];
            let table = service.table();
            if !table.is_present() {
                continue;
            }
            let key = service.key();
            self.occupants.insert(place as u32, key);
            let is_known = if key.is_address() {
                self.known_addresses.insert(key, place as u32).is_some()
            } else {
                let placed = Placed { place: place as u32, id: service.id };
                self.services.insert(key, placed).is_some()
            };
            if is_known {
                // A move that was cut short: both places hold the same table. Keep this one.
                let earlier = (0..place).find(|other| self.arrays.services[*other].key() == key)?;
                self.arrays.services[earlier].publish(Table::default());
                self.occupants.remove(&(earlier as u32));
            } else if !key.is_address()
                && !table.is_empty()
                && !self.regions.claim(table.base(), table.size())
            {
                return None;
            }
        }
        Some(())
    }

    fn read_backends(&mut self) {
        let places: BTreeMap<u32, u32> =
            self.services.values().map(|placed| (placed.id, placed.place)).collect();
        // The configuration keeps the last index within 16 bits.
        for id in 1..=(self.arrays.backends.len() - 1) as u16 {
            let backend = &self.arrays.backends[usize::from(id)];
            let (service, address) = (backend.service(), backend.address());
            let Some(place) = places.get(&service).filter(|_| backend.forward().is_some()) else {
                self.free_backends.push_back(id);
                continue;
            };
            let Some(other) = self.backends.insert((service, address), id) else { continue };
            // A replacement whose grace time was cut short, or one that had not come into force.
            let gone = if self.is_named(*place, other) { id } else { other };
            if gone == id {
                self.backends.insert((service, address), other);
            }
            self.retire([Retired::Backend(gone)]);
        }
    }

    /// Whether packets of a service come to an entry: by slots, a list, or server identifiers.
    fn is_named(&self, place: u32, backend: u16) -> bool {
        let table = self.arrays.services[place as usize].table();
        let by_slot = |slot: &Slot| slot.current == backend || slot.previous == backend;
        let by_list = |slot: &Slot| slot.current == backend;
        let mut servers = self.arrays.servers.entries().iter();
        self.read(table).iter().any(by_slot)
            || self.list(table).iter().any(by_list)
            || servers
                .any(|(key, index)| key.policy == table.policy() && *index == u32::from(backend))
    }
}
