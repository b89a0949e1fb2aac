//! The packet core's two worlds on the host: a frame in a vector, tables in vectors.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    address::Address,
    backend::Backend,
    bucket::{Bucket, SourceBuckets},
    counters::Counters,
    decap::{Connection, Gate, Segment},
    flow::{FlowCounters, FlowSet, InsertBudget},
    frame::{Frame, Header},
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    policy::{Policy, ServerKey},
    ranges::RangeLine,
    service::{Prefix, Service},
    settings::Settings,
    signals::Signals,
    slot::SlotLine,
    tables::{NotAdded, Tables},
};

/// A frame with room before it, as drivers leave (`XDP_PACKET_HEADROOM`).
#[derive(Clone, Debug)]
pub struct HostFrame {
    buffer: Vec<u8>,
    start: usize,
}

impl HostFrame {
    const HEADROOM: usize = 256;

    /// A frame with these bytes. The headroom is poisoned, so that a header byte that nobody
    /// writes shows.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0xff; Self::HEADROOM];
        buffer.extend_from_slice(bytes);
        Self { buffer, start: Self::HEADROOM }
    }

    /// The frame as it is now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

impl Frame for HostFrame {
    fn header<T: Header>(&self, offset: usize) -> Option<&T> {
        let bytes = self.bytes().get(offset..)?.get(..size_of::<T>())?;
        // SAFETY: the slice is as long as `T`; a `Header` has alignment 1 and takes any bytes.
        Some(unsafe { &*bytes.as_ptr().cast::<T>() })
    }

    fn header_mut<T: Header>(&mut self, offset: usize) -> Option<&mut T> {
        let start = self.start;
        let bytes = self.buffer[start..].get_mut(offset..)?.get_mut(..size_of::<T>())?;
        // SAFETY: as in `header`, and the slice is borrowed exclusively.
        Some(unsafe { &mut *bytes.as_mut_ptr().cast::<T>() })
    }

    fn holds(&self, length: usize) -> bool {
        length <= self.bytes().len()
    }

    fn truncate(&mut self, length: usize) -> bool {
        // The kernel keeps at least an Ethernet header (`bpf_xdp_adjust_tail`).
        let is_shorter = (14..=self.bytes().len()).contains(&length);
        if is_shorter {
            self.buffer.truncate(self.start + length);
        }
        is_shorter
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let has_room = bytes <= self.start;
        self.start -= if has_room { bytes } else { 0 };
        has_room
    }

    fn shrink(&mut self, bytes: usize) -> bool {
        // The kernel keeps at least an Ethernet header (`bpf_xdp_adjust_head`).
        let has_bytes = bytes + 14 <= self.bytes().len();
        self.start += if has_bytes { bytes } else { 0 };
        has_bytes
    }
}

/// Tables in vectors, of any length that the settings name.
#[derive(Debug, Default)]
pub struct HostTables {
    /// See [`Tables::settings`].
    pub settings: Settings,
    /// See [`Tables::service`].
    pub services: Vec<Service>,
    /// See [`Tables::slot_line`].
    pub slots: Vec<SlotLine>,
    /// See [`Tables::backend`].
    pub backends: Vec<Backend>,
    /// See [`Tables::flow_set`].
    pub flows: Vec<FlowSet>,
    /// See [`Tables::insert_budget`].
    pub insert_budget: InsertBudget,
    /// See [`Tables::reply_budget`].
    pub reply_budget: InsertBudget,
    /// See [`Tables::flow_counters`].
    pub flow_counters: FlowCounters,
    /// See [`Tables::signals`].
    pub signals: Vec<Signals>,
    /// See [`Tables::load`].
    pub loads: Vec<Load>,
    /// See [`Tables::rotation`].
    pub rotations: Vec<Rotation>,
    /// See [`Tables::nanoseconds`].
    pub nanoseconds: u64,
    /// See [`Tables::now`].
    pub now: u16,
    /// See [`Tables::jiffies`].
    pub jiffies: u64,
    /// See [`Tables::policy`].
    pub policies: Vec<Policy>,
    /// Rules by policy: prefixes with their length, and whether they allow.
    pub rules: BTreeMap<u32, Vec<(Address, u8, bool)>>,
    /// See [`Tables::bucket`].
    pub buckets: Vec<Bucket>,
    /// See [`Tables::source_buckets`].
    pub source_buckets: Vec<SourceBuckets>,
    /// See [`Tables::server`].
    pub servers: BTreeMap<ServerKey, u16>,
    /// See [`Tables::range_line`].
    pub ranges: Vec<RangeLine>,
    /// Prefixes that have services, with their address and length.
    pub prefixes: Vec<(Address, u8)>,
    /// See [`Tables::fragment_set`].
    pub fragments: Vec<FlowSet>,
    /// See [`Tables::translation`].
    pub translations: Translations,
    /// See [`Tables::ingress`].
    pub ingress: u32,
    /// Where the last frame was redirected to.
    pub egress: Cell<Option<u32>>,
    /// Counters by service.
    pub service_counters: Vec<Cell<Counters>>,
    /// Counters by backend.
    pub backend_counters: Vec<Cell<Counters>>,
}

impl Tables for HostTables {
    fn settings(&self) -> Option<&Settings> {
        Some(&self.settings)
    }

    fn service(&self, place: u32) -> Option<&Service> {
        self.services.get(place as usize)
    }

    fn slot_line(&self, line: u32) -> Option<&SlotLine> {
        self.slots.get(line as usize)
    }

    fn backend(&self, id: u16) -> Option<&Backend> {
        self.backends.get(usize::from(id))
    }

    fn flow_set(&self, set: u32) -> Option<&FlowSet> {
        self.flows.get(set as usize)
    }

    fn insert_budget(&self) -> Option<&InsertBudget> {
        Some(&self.insert_budget)
    }

    fn reply_budget(&self) -> Option<&InsertBudget> {
        Some(&self.reply_budget)
    }

    fn flow_counters(&self) -> Option<&FlowCounters> {
        Some(&self.flow_counters)
    }

    fn signals(&self, backend: u16) -> Option<&Signals> {
        self.signals.get(usize::from(backend))
    }

    fn load(&self, backend: u16) -> Option<&Load> {
        self.loads.get(usize::from(backend))
    }

    fn rotation(&self, policy: u32) -> Option<&Rotation> {
        self.rotations.get(policy as usize)
    }

    fn nanoseconds(&self) -> u64 {
        self.nanoseconds
    }

    fn now(&self) -> u16 {
        self.now
    }

    fn jiffies(&self) -> u64 {
        self.jiffies
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.policies.get(index as usize)
    }

    fn source_rule(&self, policy: u32, source: &Address) -> Option<bool> {
        let rules = self.rules.get(&policy)?;
        let matching = rules.iter().filter(|(prefix, length, _)| holds(prefix, *length, source));
        matching.max_by_key(|(_, length, _)| *length).map(|(_, _, is_allowed)| *is_allowed)
    }

    fn bucket(&self, policy: u32) -> Option<&Bucket> {
        self.buckets.get(policy as usize)
    }

    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets> {
        self.source_buckets.get(set as usize)
    }

    fn server(&self, policy: u32, (id, length): (u64, u32)) -> Option<u16> {
        self.servers.get(&ServerKey { id, policy, length }).copied()
    }

    fn range_line(&self, line: u32) -> Option<&RangeLine> {
        self.ranges.get(line as usize)
    }

    fn prefix(&self, address: &Address) -> Option<Prefix> {
        let matching =
            self.prefixes.iter().filter(|(prefix, length)| holds(prefix, *length, address));
        let (prefix, length) = matching.max_by_key(|(_, length)| *length)?;
        Some(Prefix::new(*prefix, *length))
    }

    fn fragment_set(&self, set: u32) -> Option<&FlowSet> {
        self.fragments.get(set as usize)
    }

    fn translation(&self, tuple: &Tuple) -> Option<&Translation> {
        self.translations.get(tuple)
    }

    fn add_translation(&self, tuple: &Tuple, translation: &Translation) -> Result<(), NotAdded> {
        self.translations.add(tuple, translation)
    }

    fn remove_translation(&self, tuple: &Tuple) {
        self.translations.remove(tuple);
    }

    fn ingress(&self) -> u32 {
        self.ingress
    }

    fn redirect(&self, interface: u32) {
        self.egress.set(Some(interface));
    }

    fn count_service(&self, id: u32, packet: Counters) {
        count(self.service_counters.get(id as usize), packet);
    }

    fn count_backend(&self, id: u16, packet: Counters) {
        count(self.backend_counters.get(usize::from(id)), packet);
    }
}

/// Whether a prefix holds an address, both in the form in which keys of prefixes have them, see
/// [`Address::mapped`].
#[must_use]
pub fn holds(prefix: &Address, length: u8, address: &Address) -> bool {
    let number = |address: &Address| {
        let [high, low] = address.mapped().map(|word| u64::from_be_bytes(word.to_ne_bytes()));
        u128::from(high) << 64 | u128::from(low)
    };
    let before = if prefix.is_ipv6() { 0 } else { 96 };
    // Nobody has more bits than all.
    let length = (u32::from(length) + before).min(128);
    // A shift by all bits, for the prefix of everything, is none.
    let rest = |address: &Address| number(address).checked_shr(128 - length).unwrap_or(0);
    rest(prefix) == rest(address)
}

/// Translated flows in a map of limited size.
///
/// A value that was handed out stays where it is for as long as the map lives, whatever happens to
/// its entry: as in the kernel, where a packet may still be reading it.
#[derive(Debug, Default)]
pub struct Translations {
    capacity: usize,
    entries: RefCell<BTreeMap<Tuple, Box<Translation>>>,
    // Boxed, since they were handed out where they are.
    #[expect(clippy::vec_box)]
    removed: RefCell<Vec<Box<Translation>>>,
}

impl Translations {
    /// Room for `capacity` entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// What becomes of packets with a tuple.
    #[must_use]
    pub fn get(&self, tuple: &Tuple) -> Option<&Translation> {
        let entries = self.entries.borrow();
        let found: *const Translation = &raw const **entries.get(tuple)?;
        // SAFETY: values are boxed, are changed through their own cells only, and are kept in one
        // of the two collections until the map, which is borrowed, goes away.
        Some(unsafe { &*found })
    }

    /// See [`Tables::add_translation`].
    pub fn add(&self, tuple: &Tuple, translation: &Translation) -> Result<(), NotAdded> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(tuple) {
            return Err(NotAdded::Taken);
        }
        if entries.len() >= self.capacity {
            return Err(NotAdded::Full);
        }
        entries.insert(*tuple, Box::new(translation.copy()));
        Ok(())
    }

    /// See [`Tables::remove_translation`].
    pub fn remove(&self, tuple: &Tuple) {
        self.removed.borrow_mut().extend(self.entries.borrow_mut().remove(tuple));
    }

    /// Frees what was removed.
    pub fn reclaim(&mut self) {
        self.removed.get_mut().clear();
    }

    /// Every translation.
    #[must_use]
    pub fn all(&self) -> Vec<(Tuple, Translation)> {
        self.entries.borrow().iter().map(|(tuple, found)| (*tuple, found.copy())).collect()
    }
}

fn count(counters: Option<&Cell<Counters>>, packet: Counters) {
    if let Some(cell) = counters {
        let mut counters = cell.get();
        counters.count(packet);
        cell.set(counters);
    }
}

/// The tunnel's far end with its lists in sets.
#[derive(Debug, Default)]
pub struct HostGate {
    /// Permitted load balancers.
    pub sources: BTreeSet<Address>,
    /// Addresses of this machine.
    pub own: BTreeSet<Address>,
    /// Addresses at which tunnelled packets may be aimed.
    pub targets: BTreeSet<Address>,
    /// UDP port of GUE; 0 is none.
    pub gue_port: u16,
    /// Whether packets are given on to other backends.
    pub gives_on: bool,
    /// TCP connections of this machine.
    pub connections: BTreeSet<Connection>,
}

impl Gate for HostGate {
    fn permits(&self, source: &Address) -> bool {
        self.sources.contains(source)
    }

    fn has(&self, address: &Address) -> bool {
        self.own.contains(address)
    }

    fn admits(&self, destination: &Address) -> bool {
        self.targets.contains(destination)
    }

    fn gue_port(&self) -> u16 {
        self.gue_port
    }

    fn gives_on(&self) -> bool {
        self.gives_on
    }

    fn knows<F: Frame>(&self, _: &F, segment: &Segment) -> bool {
        self.connections.contains(&segment.connection)
    }
}
