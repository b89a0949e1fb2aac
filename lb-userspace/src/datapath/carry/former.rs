//! Maps that an earlier daemon has made, read by their description.

use std::path::Path;

use lb_common::{
    Address, Backend, Forward, HashKey, Link, NextHop, ServiceKey, Settings, Slot,
    flow::{Phase, Remembered},
};

use super::{
    description::{Description, Field, MapDescription, Unreadable},
    fields::Fields,
    raw::{self, RawArray},
};
use crate::datapath::translations::Translations;

/// Maps of an earlier daemon that flows depend on.
#[derive(Debug)]
pub(in crate::datapath) struct Former {
    settings: RawArray,
    services: RawArray,
    policies: RawArray,
    slots: RawArray,
    backends: RawArray,
    flows: RawArray,
    translations: Option<Translations>,
    is_translation_like_ours: bool,
    fields: Fields,
}

/// A service as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FormerService {
    /// What packets must match.
    pub(super) key: ServiceKey,
    /// Its identifier.
    pub(super) id: u32,
    /// Whether all its flows are remembered.
    pub(super) remembers: bool,
    /// Its first slot, and how many there are.
    pub(super) slots: (u32, u32),
}

/// A backend as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FormerBackend {
    /// Identifier of its service.
    pub(super) service: u32,
    /// Counts the uses of its index.
    pub(super) generation: u16,
    /// How packets get to it.
    pub(super) forward: Forward,
    /// Its own address.
    pub(super) address: Address,
    /// Its own port, or that of the tunnel.
    pub(super) port: u16,
    source: Address,
    spread: u16,
    next_hop: NextHop,
}

impl FormerBackend {
    /// The same as an entry of ours.
    pub(super) fn entry(&self, service: u32) -> Backend {
        let Self { generation, forward, address, source, .. } = *self;
        let entry = Backend::new(service, generation, forward, address, source);
        let entry = entry.at_port(self.port).spread(self.spread);
        entry.set_next_hop(self.next_hop);
        entry
    }
}

impl Former {
    /// Opens the maps pinned in a directory, whose description is known.
    pub(super) fn open(maps: &Path, described: &Description) -> Result<Self, Unreadable> {
        let own = Description::own(0);
        own.means_the_same_as(described)?;
        let open = |name| open(maps, name, described.map(name)?);
        let translations = raw::open_map(&maps.join("TRANSLATIONS")).ok();
        Ok(Self {
            settings: open("SETTINGS")?,
            services: open("SERVICES")?,
            policies: open("POLICIES")?,
            slots: open("SLOTS")?,
            backends: open("BACKENDS")?,
            flows: open("FLOWS")?,
            translations: translations.map(|(map, entries)| Translations::of_map(map, entries)),
            is_translation_like_ours: own.has_same(described, "TRANSLATIONS"),
            fields: Fields::of(described)?,
        })
    }

    /// The same of a daemon of this version, without translated flows.
    #[cfg(test)]
    pub(super) fn of_arrays(arrays: &crate::datapath::arrays::Arrays) -> Self {
        Self {
            settings: RawArray::of_values(&arrays.settings),
            services: RawArray::of_values(&arrays.services),
            policies: RawArray::of_values(&arrays.policies),
            slots: RawArray::of_values(&arrays.slots),
            backends: RawArray::of_values(&arrays.backends),
            flows: RawArray::of_values(&arrays.flows),
            translations: None,
            is_translation_like_ours: false,
            fields: Fields::of(&Description::own(0)).expect("its own"),
        }
    }

    /// Whether flows were hashed with this key.
    pub(in crate::datapath) fn is_hashed_with(&self, key: &HashKey) -> bool {
        let ours = Settings { hash_key: *key, ..Settings::default() };
        let theirs = self.fields.settings.hash_key.map(|field| self.settings.read(0, field));
        super::measure::hash_key(&ours) == theirs
    }

    /// Sets how many flows a processor may begin to remember in a tick, and tells how many it was.
    pub(super) fn set_inserts(&self, inserts: u32) -> u32 {
        let field = self.fields.settings.inserts_per_tick;
        let before = self.settings.read(0, field) as u32;
        self.settings.write(0, field, inserts);
        before
    }

    /// All services.
    pub(super) fn services(&self) -> impl Iterator<Item = FormerService> + '_ {
        (0..self.services.len()).filter_map(|place| self.service(place))
    }

    fn service(&self, place: usize) -> Option<FormerService> {
        let read = |field| self.services.read(place, field);
        let fields = &self.fields.services;
        if read(fields.present) == 0 {
            return None;
        }
        let rest = fields.rest.map(|field| read(field) as u32);
        let key = ServiceKey::from_parts(read(fields.key), rest);
        let size = if read(fields.empty) == 0 { 1 << read(fields.bits) } else { 0 };
        let is_service = !key.is_address();
        let slots = (read(fields.base) as u32, size);
        let policy = read(fields.policy) as usize;
        let remembers = policy < self.policies.len()
            && self.policies.read(policy, self.fields.policies.remembered) != 0;
        let id = read(fields.id) as u32;
        is_service.then_some(FormerService { key, id, remembers, slots })
    }

    /// A slot; that of nobody where there is none.
    pub(super) fn slot(&self, index: u32) -> Slot {
        let fields = &self.fields.slots;
        let (line, item) = (index / fields.items, index % fields.items);
        if line as usize >= self.slots.len() {
            return Slot::default();
        }
        let read = |field: Field| {
            self.slots.read(line as usize, field.after(item * fields.item_bits)) as u16
        };
        Slot { current: read(fields.current), previous: read(fields.previous) }
    }

    /// Entries of backends, of which the first is unused.
    pub(super) const fn backends(&self) -> usize {
        self.backends.len()
    }

    /// The backend with this index.
    pub(super) fn backend(&self, index: u16) -> Option<FormerBackend> {
        let place = usize::from(index);
        if place == 0 || place >= self.backends.len() {
            return None;
        }
        let fields = &self.fields.backends;
        let read = |field| self.backends.read(place, field);
        let forward = Forward::from_number(read(fields.forward) as u8)?;
        let ipv6 = read(fields.ipv6) != 0;
        let address =
            |words: [Field; 4]| Address::from_words(words.map(|field| read(field) as u32), ipv6);
        let [a, b, c, d, e, f, g, h] = read(fields.link_head).to_ne_bytes();
        let [i, j, k, l] = (read(fields.link_tail) as u32).to_ne_bytes();
        Some(FormerBackend {
            service: read(fields.service) as u32,
            generation: self.generation(index),
            forward,
            address: address(fields.destination),
            port: read(fields.port) as u16,
            source: address(fields.source),
            spread: read(fields.spread) as u16,
            next_hop: NextHop {
                interface: read(fields.interface) as u32,
                mtu: read(fields.mtu) as u16,
                vlan: read(fields.vlan) as u16,
                link: Link { destination: [a, b, c, d, e, f], source: [g, h, i, j, k, l] },
            },
        })
    }

    fn generation(&self, index: u16) -> u16 {
        self.backends.read(usize::from(index), self.fields.backends.generation) as u16
    }

    /// Sets of remembered flows.
    pub(super) const fn flow_sets(&self) -> usize {
        self.flows.len()
    }

    /// The flows of a set, each with the lower bits of its hash. Those whose backend has forgotten
    /// them are not among them.
    pub(super) fn flows(&self, set: usize) -> impl Iterator<Item = (u64, Remembered)> + '_ {
        let fields = &self.fields.flows;
        (0..fields.items).filter_map(move |way| self.flow(set, way * fields.item_bits))
    }

    fn flow(&self, set: usize, bits: u32) -> Option<(u64, Remembered)> {
        let read = |field: Field| self.flows.read(set, field.after(bits));
        let fields = &self.fields.flows;
        let tag = read(fields.tag);
        if tag == 0 {
            return None;
        }
        // One look at the word that packets replace as a whole.
        let bit = fields.backend.after(bits).bit / 64 * 64;
        let word = self.flows.read(set, Field { bit, width: 64 });
        let number =
            |field: Field| Field { bit: field.after(bits).bit % 64, ..field }.read(|_| word);
        let sum = tag.wrapping_mul(CHECK) >> (64 - fields.check.width);
        let backend = number(fields.backend) as u16;
        let remembered = Remembered {
            backend,
            generation: number(fields.generation) as u16,
            seen: number(fields.seen) as u16,
            phase: Phase::ALL[number(fields.phase) as usize & (Phase::ALL.len() - 1)],
        };
        let is_alive = usize::from(backend) < self.backends.len()
            && self.generation(backend) == remembered.generation;
        (number(fields.check) == sum && is_alive).then_some((tag, remembered))
    }

    /// The translated flows, if their entries are as ours are.
    pub(super) fn translations(&self) -> Option<&Translations> {
        self.translations.as_ref().filter(|_| self.is_translation_like_ours)
    }
}

/// What an entry's check is: the highest bits of the tag times this. Another rule is another
/// meaning of `check`.
const CHECK: u64 = 0xd6e8_feb8_6659_fd93;

fn open(
    maps: &Path,
    name: &'static str,
    described: &MapDescription,
) -> Result<RawArray, Unreadable> {
    let failed = |message: String| Unreadable::Map { name, message };
    let array = RawArray::open(&maps.join(name)).map_err(|error| failed(error.to_string()))?;
    if array.value() != described.value as usize {
        return Err(failed(format!("{} bytes a value, not {}", array.value(), described.value)));
    }
    Ok(array)
}
