//! The balancer's tables beside one packet on the host.

use std::cell::Cell;

use lb_common::{
    Address, Backend, Counters, FlowSet, Policy, Service, Settings, SlotLine, Tables,
    bucket::{Bucket, SourceBuckets},
    flow::{FlowCounters, InsertBudget, Remembered},
    host::Translations,
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    ranges::RangeLine,
    service::Prefix,
    signals::Signals,
    tables::NotAdded,
};
use lb_userspace::datapath::arrays::{Arrays, Lengths};

use super::program::INGRESS;

/// What packets on the host change: a copy of what packets in the kernel change.
pub(super) struct Changing {
    pub(super) flows: Vec<FlowSet>,
    pub(super) flow_counters: FlowCounters,
    pub(super) signals: Vec<Signals>,
    pub(super) loads: Vec<Load>,
    rotations: Vec<Rotation>,
    budget: InsertBudget,
    replies: InsertBudget,
    buckets: Vec<Bucket>,
    source_buckets: Vec<SourceBuckets>,
    pub(super) fragments: Vec<FlowSet>,
    pub(super) translations: Translations,
    pub(super) services: Vec<Cell<Counters>>,
    pub(super) backends: Vec<Cell<Counters>>,
    /// The last known tick of the kernel's clock.
    pub(super) now: Cell<u16>,
    /// Packets so far whose slot was disputed, so that they were told apart by their time.
    pub(super) disputed: Cell<u64>,
    /// Where the last packet was redirected to.
    pub(super) egress: Cell<Option<u32>>,
}

impl Changing {
    /// Nothing remembered, nothing counted.
    pub(super) fn new(lengths: &Lengths, services: u32, now: u16) -> Self {
        let counters = |len: u32| (0..len).map(|_| Cell::default()).collect();
        Self {
            flows: (0..lengths.flows).map(|_| FlowSet::default()).collect(),
            flow_counters: FlowCounters::default(),
            signals: (0..lengths.backends).map(|_| Signals::default()).collect(),
            loads: (0..lengths.backends).map(|_| Load::default()).collect(),
            rotations: (0..lengths.policies).map(|_| Rotation::default()).collect(),
            budget: InsertBudget::default(),
            replies: InsertBudget::default(),
            buckets: (0..lengths.policies).map(|_| Bucket::default()).collect(),
            source_buckets: (0..lengths.sources).map(|_| SourceBuckets::default()).collect(),
            fragments: (0..lengths.fragments).map(|_| FlowSet::default()).collect(),
            translations: Translations::new(lengths.translations as usize),
            services: counters(services),
            backends: counters(lengths.backends),
            now: Cell::new(now),
            disputed: Cell::new(0),
            egress: Cell::new(None),
        }
    }
}

/// The arrays that the kernel reads too, with the host's own share of what changes.
pub(super) struct Beside<'a> {
    pub(super) arrays: &'a Arrays,
    pub(super) changing: &'a Changing,
    /// The tick in which the kernel last asked for an insertion or an answer.
    pub(super) kernel_tick: &'a dyn Fn() -> Option<u16>,
    set: Cell<usize>,
}

impl<'a> Beside<'a> {
    pub(super) const fn new(
        arrays: &'a Arrays,
        changing: &'a Changing,
        kernel_tick: &'a dyn Fn() -> Option<u16>,
    ) -> Self {
        Self { arrays, changing, kernel_tick, set: Cell::new(0) }
    }
}

impl Tables for Beside<'_> {
    fn settings(&self) -> Option<&Settings> {
        self.arrays.settings()
    }

    fn service(&self, place: u32) -> Option<&Service> {
        self.arrays.service(place)
    }

    fn slot_line(&self, line: u32) -> Option<&SlotLine> {
        self.arrays.slot_line(line)
    }

    fn backend(&self, id: u16) -> Option<&Backend> {
        self.arrays.backend(id)
    }

    fn flow_set(&self, set: u32) -> Option<&FlowSet> {
        self.set.set(set as usize);
        self.changing.flows.get(set as usize)
    }

    fn insert_budget(&self) -> Option<&InsertBudget> {
        Some(&self.changing.budget)
    }

    /// The time at which the kernel saw the packet.
    ///
    /// The packet has already been through the kernel. Whatever it did there with its flow, it
    /// wrote the time down, in its flow's entry or in a budget; so the latest time there is the
    /// packet's. A clock of the host's own would be wrong now and then, between two ticks.
    fn now(&self) -> u16 {
        let set = &self.arrays.flows[self.set.get()];
        let seen = set.iter().map(|(_, Remembered { seen, .. })| seen);
        let now = seen.chain((self.kernel_tick)()).fold(self.changing.now.get(), later);
        self.changing.now.set(now);
        self.changing.disputed.set(self.changing.disputed.get() + 1);
        now
    }

    fn flow_counters(&self) -> Option<&FlowCounters> {
        Some(&self.changing.flow_counters)
    }

    fn signals(&self, backend: u16) -> Option<&Signals> {
        self.changing.signals.get(usize::from(backend))
    }

    fn load(&self, backend: u16) -> Option<&Load> {
        self.changing.loads.get(usize::from(backend))
    }

    fn rotation(&self, policy: u32) -> Option<&Rotation> {
        self.changing.rotations.get(policy as usize)
    }

    fn nanoseconds(&self) -> u64 {
        0
    }

    fn reply_budget(&self) -> Option<&InsertBudget> {
        Some(&self.changing.replies)
    }

    fn jiffies(&self) -> u64 {
        u64::from(self.changing.now.get()) << self.arrays.settings[0].tick
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.arrays.policy(index)
    }

    fn source_rule(&self, policy: u32, source: &Address) -> Option<bool> {
        self.arrays.source_rule(policy, source)
    }

    fn bucket(&self, policy: u32) -> Option<&Bucket> {
        self.changing.buckets.get(policy as usize)
    }

    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets> {
        self.changing.source_buckets.get(set as usize)
    }

    fn server(&self, policy: u32, id: (u64, u32)) -> Option<u16> {
        self.arrays.server(policy, id)
    }

    fn range_line(&self, line: u32) -> Option<&RangeLine> {
        self.arrays.range_line(line)
    }

    fn prefix(&self, address: &Address) -> Option<Prefix> {
        self.arrays.prefix(address)
    }

    fn fragment_set(&self, set: u32) -> Option<&FlowSet> {
        self.changing.fragments.get(set as usize)
    }

    fn translation(&self, tuple: &Tuple) -> Option<&Translation> {
        self.changing.translations.get(tuple)
    }

    fn add_translation(&self, tuple: &Tuple, translation: &Translation) -> Result<(), NotAdded> {
        self.changing.translations.add(tuple, translation)
    }

    fn remove_translation(&self, tuple: &Tuple) {
        self.changing.translations.remove(tuple);
    }

    fn ingress(&self) -> u32 {
        INGRESS
    }

    fn redirect(&self, interface: u32) {
        self.changing.egress.set(Some(interface));
    }

    fn count_service(&self, id: u32, packet: Counters) {
        count(self.changing.services.get(id as usize), packet);
    }

    fn count_backend(&self, id: u16, packet: Counters) {
        count(self.changing.backends.get(usize::from(id)), packet);
    }
}

fn count(counters: Option<&Cell<Counters>>, packet: Counters) {
    if let Some(cell) = counters {
        let mut counters = cell.get();
        counters.count(packet);
        cell.set(counters);
    }
}

/// The later of two ticks that wrap.
const fn later(one: u16, other: u16) -> u16 {
    if (other.wrapping_sub(one) as i16) > 0 { other } else { one }
}
