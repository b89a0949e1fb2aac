//! Where this daemon's own maps have their fields: measured, by setting each through the accessors
//! that packets and tables use and looking which bits change. So it cannot be out of date.

use std::{collections::BTreeMap, mem::offset_of};

use lb_common::{
    Address, Backend, FlowSet, Forward, HashKey, Link, NextHop, Policy, SLOTS_PER_LINE, Service,
    ServiceKey, Settings, Slot, SlotLine, Table,
    flow::{Phase, Remembered},
    nat::{Translation, Tuple},
    policy::flag,
};

use super::description::{Field, MapDescription};

/// All maps that flows depend on.
pub(super) fn maps() -> BTreeMap<String, MapDescription> {
    let maps = [
        ("SETTINGS", settings()),
        ("SERVICES", services()),
        ("POLICIES", policies()),
        ("SLOTS", slots()),
        ("BACKENDS", backends()),
        ("FLOWS", flows()),
        ("TRANSLATIONS", translations()),
    ];
    maps.map(|(name, description)| (name.to_owned(), description)).into()
}

fn settings() -> MapDescription {
    let zero = Settings::default();
    let key = 8 * offset_of!(Settings, hash_key) as u32;
    let mut map = Measured::new::<Settings>(1);
    for (number, name) in HASH_KEY.into_iter().enumerate() {
        map.add(name, Field { bit: key + 64 * number as u32, width: 64 });
    }
    map.add("inserts_per_tick", changed(&zero, &Settings { inserts_per_tick: !0, ..zero }));
    map.done()
}

/// The secret of a value of `SETTINGS` as the description's fields have it.
pub(super) fn hash_key(settings: &Settings) -> [u64; HASH_KEY.len()] {
    let start = offset_of!(Settings, hash_key) / 8;
    let words = words(settings);
    std::array::from_fn(|index| words[start + index])
}

fn services() -> MapDescription {
    let entry = |word, rest, id| Service::unpublished(ServiceKey::from_parts(word, rest), id);
    let zero = entry(0, [0; 3], 0);
    let mut map = Measured::new::<Service>(1);
    map.add("key", changed(&zero, &entry(!0, [0; 3], 0)));
    for (number, name) in KEY_REST.into_iter().enumerate() {
        let mut rest = [0; 3];
        rest[number] = !0;
        map.add(name, changed(&zero, &entry(0, rest, 0)));
    }
    map.add("id", changed(&zero, &entry(0, [0; 3], !0)));
    let published = |table| {
        let entry = entry(0, [0; 3], 0);
        entry.publish(table);
        entry
    };
    let table = published(Table::new(0, 0));
    map.add("present", changed(&zero, &table));
    map.add("empty", changed(&table, &published(Table::empty())));
    map.add("base", changed(&table, &published(Table::new(!0, 0))));
    map.add("bits", changed(&table, &published(Table::new(0, 31))));
    map.add("policy", changed(&table, &published(Table::new(0, 0).under(!0))));
    map.done()
}

fn policies() -> MapDescription {
    let remembering = Policy { flags: flag::REMEMBERED, ..Policy::NONE };
    let mut map = Measured::new::<Policy>(1);
    map.add("remembered", changed(&Policy::NONE, &remembering));
    map.done()
}

fn slots() -> MapDescription {
    let line = |current, previous| {
        let line = SlotLine::default();
        line.set(0, Slot { current, previous });
        line
    };
    let mut map = Measured::new::<SlotLine>(SLOTS_PER_LINE);
    map.add("current", changed(&line(0, 0), &line(!0, 0)));
    map.add("previous", changed(&line(0, 0), &line(0, !0)));
    map.done()
}

fn backends() -> MapDescription {
    let none = Address::from_words([0; 4], false);
    let zero = || Backend::new(0, 0, Forward::L2, none, none);
    let mut map = Measured::new::<Backend>(1);
    map.add("service", changed(&zero(), &Backend::new(!0, 0, Forward::L2, none, none)));
    map.add("generation", changed(&zero(), &Backend::new(0, !0, Forward::L2, none, none)));
    let entry = zero();
    for (names, words) in [(DESTINATION, entry.destination()), (SOURCE, entry.source())] {
        for (name, word) in names.into_iter().zip(words) {
            map.add(name, place(&entry, word));
        }
    }
    // What sums up the addresses changes with them, and with the way to forward.
    let mut sums = vec![0; words(&entry).len()];
    for bit in 0..32 {
        let address = Address::from_words([1 << bit, 0, 0, 0], false);
        let changed = bits(&entry, &Backend::new(0, 0, Forward::L2, address, none));
        sums.iter_mut().zip(changed).for_each(|(sum, changed)| *sum |= changed);
    }
    for word in entry.destination() {
        let field = place(&entry, word);
        sums[field.bit as usize / 64] &= !(u64::MAX >> 32 << (field.bit % 64));
    }
    let but_sums = |other: &Backend| {
        let changed = bits(&zero(), other).into_iter().zip(&sums);
        field(&changed.map(|(changed, sum)| changed & !sum).collect::<Vec<_>>())
    };
    // 1, 2 and 4 as numbers: together all bits that a way takes.
    let way = |forward| but_sums(&Backend::new(0, 0, forward, none, none));
    map.add("forward", way(Forward::Ipip).joined(way(Forward::Nat)));
    let ipv6 = Address::from_words([0; 4], true);
    map.add("ipv6", but_sums(&Backend::new(0, 0, Forward::L2, ipv6, ipv6)));
    map.add("port", changed(&zero(), &zero().at_port(!0)));
    map.add("spread", changed(&zero(), &zero().spread(!0)));
    let towards = |next| {
        let entry = zero();
        entry.set_next_hop(next);
        entry
    };
    let hop = NextHop::default();
    map.add("interface", changed(&zero(), &towards(NextHop { interface: !0, ..hop })));
    map.add("mtu", changed(&zero(), &towards(NextHop { mtu: !0, ..hop })));
    map.add("vlan", changed(&zero(), &towards(NextHop { vlan: !0, ..hop })));
    let f = 0xff;
    let head = Link { destination: [f; 6], source: [f, f, 0, 0, 0, 0] };
    let tail = Link { destination: [0; 6], source: [0, 0, f, f, f, f] };
    map.add("link_head", changed(&zero(), &towards(NextHop { link: head, ..hop })));
    map.add("link_tail", changed(&zero(), &towards(NextHop { link: tail, ..hop })));
    map.done()
}

fn flows() -> MapDescription {
    const FLOW: u64 = 0x0123_4567_89ab_cdef;

    let nothing = Remembered { backend: 0, generation: 0, seen: 0, phase: Phase::ALL[0] };
    let set = |flow, remembered| {
        let set = FlowSet::default();
        let _ = set.put(flow, remembered);
        set
    };
    let zero = || set(FLOW, nothing);
    let mut map = Measured::new::<FlowSet>(FlowSet::FLOWS);
    let tag = words(&zero()).iter().position(|word| *word == FLOW | 1 << 63);
    let tag = Field { bit: 64 * tag.unwrap_or_default() as u32, width: 64 };
    map.add("tag", tag);
    map.add("backend", changed(&zero(), &set(FLOW, Remembered { backend: !0, ..nothing })));
    map.add("generation", changed(&zero(), &set(FLOW, Remembered { generation: !0, ..nothing })));
    map.add("seen", changed(&zero(), &set(FLOW, Remembered { seen: !0, ..nothing })));
    // The last phase is the one whose bits are all set.
    let last = Remembered { phase: Phase::ALL[Phase::ALL.len() - 1], ..nothing };
    map.add("phase", changed(&zero(), &set(FLOW, last)));
    let mut sums = vec![0; words(&zero()).len()];
    for bit in 0..63 {
        let changed = bits(&zero(), &set(FLOW ^ 1 << bit, nothing));
        sums.iter_mut().zip(changed).for_each(|(sum, changed)| *sum |= changed);
    }
    sums[tag.bit as usize / 64] = 0;
    map.add("check", field(&sums));
    map.done()
}

fn translations() -> MapDescription {
    let entry = |tuple, service, backend| Translation::new(tuple, 0, service, backend);
    let none = Tuple::default();
    let zero = || entry(none, 0, (0, 0));
    let mut map = Measured::new::<Translation>(1);
    map.add("ports", changed(&zero(), &entry(Tuple { ports: !0, ..none }, 0, (0, 0))));
    map.add("protocol", changed(&zero(), &entry(Tuple { protocol: !0, ..none }, 0, (0, 0))));
    map.add("source", changed(&zero(), &entry(Tuple { source: [!0, 0], ..none }, 0, (0, 0))));
    let destination = Tuple { destination: [!0, 0], ..none };
    map.add("destination", changed(&zero(), &entry(destination, 0, (0, 0))));
    map.add("delta", changed(&zero(), &Translation::new(none, !0, 0, (0, 0))));
    map.add("service", changed(&zero(), &entry(none, !0, (0, 0))));
    map.add("backend", changed(&zero(), &entry(none, 0, (!0, 0))));
    map.add("generation", changed(&zero(), &entry(none, 0, (0, !0))));
    map.add("seen", changed(&zero(), &zero().seen_at(!0, 0)));
    map.add("state", changed(&zero(), &zero().seen_at(0, 0xffff)));
    map.done()
}

/// Names of numbers that are several fields.
pub(super) const HASH_KEY: [&str; size_of::<HashKey>() / 8] =
    ["hash_key_0", "hash_key_1", "hash_key_2", "hash_key_3"];
pub(super) const KEY_REST: [&str; 3] = ["rest_0", "rest_1", "rest_2"];
pub(super) const DESTINATION: [&str; 4] =
    ["destination_0", "destination_1", "destination_2", "destination_3"];
pub(super) const SOURCE: [&str; 4] = ["source_0", "source_1", "source_2", "source_3"];

/// A map's description as it grows.
struct Measured(MapDescription);

impl Measured {
    fn new<T>(items: u32) -> Self {
        Self(MapDescription { value: size_of::<T>() as u32, items, fields: BTreeMap::new() })
    }

    fn add(&mut self, name: &str, field: Field) {
        self.0.fields.insert(name.to_owned(), field);
    }

    fn done(self) -> MapDescription {
        self.0
    }
}

impl Field {
    /// The field from the lowest bit of both to the highest.
    fn joined(self, other: Self) -> Self {
        let bit = self.bit.min(other.bit);
        let end = (self.bit + self.width).max(other.bit + other.width);
        Self { bit, width: end - bit }
    }
}

/// The bits in which two values differ, as a field.
fn changed<T>(one: &T, other: &T) -> Field {
    field(&bits(one, other))
}

fn bits<T>(one: &T, other: &T) -> Vec<u64> {
    words(one).into_iter().zip(words(other)).map(|(one, other)| one ^ other).collect()
}

/// The bits that are set, all of which are in one word.
fn field(bits: &[u64]) -> Field {
    let (index, word) = bits
        .iter()
        .enumerate()
        .find(|(_, word)| **word != 0)
        .expect("an accessor changes what it sets, as this module's tests show");
    let first = word.trailing_zeros();
    Field { bit: 64 * index as u32 + first, width: 64 - word.leading_zeros() - first }
}

/// Where a 32-bit word of a value lies in it.
fn place<T>(value: &T, word: &u32) -> Field {
    let byte = (std::ptr::from_ref(word) as usize) - (std::ptr::from_ref(value) as usize);
    let within = if cfg!(target_endian = "little") { byte % 8 } else { 4 - byte % 8 };
    Field { bit: 8 * (byte - byte % 8 + within) as u32, width: 32 }
}

/// A value as the machine reads it.
fn words<T>(value: &T) -> Vec<u64> {
    let start = std::ptr::from_ref(value).cast::<u64>();
    // SAFETY: all of it lies in the value, which is a map's: it has no padding, and numbers only.
    (0..size_of::<T>() / 8).map(|index| unsafe { start.add(index).read_unaligned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_overlap_and_lie_in_their_items() {
        for (name, map) in maps() {
            let mut taken = vec![0_u64; map.value as usize / 8];
            for (field_name, field) in &map.fields {
                let mask = u64::MAX >> (64 - field.width) << (field.bit % 64);
                let word = &mut taken[field.bit as usize / 64];
                assert_eq!(*word & mask, 0, "{name}.{field_name} overlaps");
                *word |= mask;
                assert!(field.bit + field.width <= 8 * map.item(), "{name}.{field_name}");
            }
        }
    }

    /// Widths that the types promise: a field that was measured too small would lose bits.
    #[test]
    fn fields_are_as_wide_as_their_numbers() {
        let maps = maps();
        for (map, field, width) in [
            ("SETTINGS", "inserts_per_tick", 32),
            ("SERVICES", "key", 64),
            ("SERVICES", "rest_2", 32),
            ("SERVICES", "base", 32),
            ("SERVICES", "bits", 5),
            ("SERVICES", "present", 1),
            ("SERVICES", "empty", 1),
            ("SERVICES", "policy", 20),
            ("POLICIES", "remembered", 1),
            ("SLOTS", "current", 16),
            ("SLOTS", "previous", 16),
            ("BACKENDS", "generation", 16),
            ("BACKENDS", "forward", 3),
            ("BACKENDS", "ipv6", 1),
            ("BACKENDS", "destination_3", 32),
            ("BACKENDS", "source_0", 32),
            ("BACKENDS", "port", 16),
            ("BACKENDS", "spread", 16),
            ("BACKENDS", "interface", 32),
            ("BACKENDS", "mtu", 16),
            ("BACKENDS", "vlan", 12),
            ("BACKENDS", "link_head", 64),
            ("BACKENDS", "link_tail", 32),
            ("FLOWS", "tag", 64),
            ("FLOWS", "backend", 16),
            ("FLOWS", "generation", 16),
            ("FLOWS", "seen", 16),
            ("FLOWS", "phase", 2),
            ("TRANSLATIONS", "backend", 16),
            ("TRANSLATIONS", "seen", 16),
        ] {
            assert_eq!(maps[map].fields[field].width, width, "{map}.{field}");
        }
    }
}
