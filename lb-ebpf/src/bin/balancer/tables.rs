//! The tables beside a packet, in maps.

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_NOEXIST,
    btf_maps::lpm_trie::Key,
    helpers::generated::bpf_jiffies64,
    helpers::{bpf_ktime_get_ns, bpf_redirect},
    programs::XdpContext,
};
use lb_common::{
    Address, Backend, Counters, FlowSet, Policy, Service, Settings, SlotLine, Tables,
    bucket::{Bucket, SourceBuckets},
    flow::{FlowCounters, InsertBudget},
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    policy::{RulePrefix, ServerKey},
    ranges::RangeLine,
    service::{MappedAddress, Prefix},
    signals::Signals,
    tables::NotAdded,
};

use crate::maps;

/// The maps, seen by the program that runs for one packet.
pub(crate) struct MapTables<'a> {
    context: &'a XdpContext,
}

impl<'a> MapTables<'a> {
    /// The maps beside the packet of `context`.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn new(context: &'a XdpContext) -> Self {
        Self { context }
    }
}

impl Tables for MapTables<'_> {
    #[inline(always)]
    fn settings(&self) -> Option<&Settings> {
        maps::SETTINGS.get(0)
    }

    #[inline(always)]
    fn service(&self, place: u32) -> Option<&Service> {
        maps::SERVICES.get(place)
    }

    #[inline(always)]
    fn slot_line(&self, line: u32) -> Option<&SlotLine> {
        maps::SLOTS.get(line)
    }

    #[inline(always)]
    fn backend(&self, id: u16) -> Option<&Backend> {
        maps::BACKENDS.get(u32::from(id))
    }

    #[inline(always)]
    fn flow_set(&self, set: u32) -> Option<&FlowSet> {
        maps::FLOWS.get(set)
    }

    #[inline(always)]
    fn insert_budget(&self) -> Option<&InsertBudget> {
        maps::INSERT_BUDGET.get(0)
    }

    #[inline(always)]
    fn flow_counters(&self) -> Option<&FlowCounters> {
        maps::FLOW_COUNTERS.get(0)
    }

    #[inline(always)]
    fn signals(&self, backend: u16) -> Option<&Signals> {
        maps::SIGNALS.get(u32::from(backend))
    }

    #[inline(always)]
    fn load(&self, backend: u16) -> Option<&Load> {
        maps::LOADS.get(u32::from(backend))
    }

    #[inline(always)]
    fn rotation(&self, policy: u32) -> Option<&Rotation> {
        maps::ROTATIONS.get(policy)
    }

    #[inline(always)]
    fn nanoseconds(&self) -> u64 {
        // SAFETY: takes nothing and reads a number.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn now(&self) -> u16 {
        maps::SETTINGS.get(0).map_or(0, |settings| settings.tick_at(jiffies()))
    }

    #[inline(always)]
    fn reply_budget(&self) -> Option<&InsertBudget> {
        maps::REPLY_BUDGET.get(0)
    }

    #[inline(always)]
    fn jiffies(&self) -> u64 {
        jiffies()
    }

    #[inline(always)]
    fn policy(&self, index: u32) -> Option<&Policy> {
        maps::POLICIES.get(index)
    }

    #[inline(always)]
    fn source_rule(&self, policy: u32, source: &Address) -> Option<bool> {
        let prefix = RulePrefix { policy, address: source.mapped() };
        let key = maps::RuleKey(Key::new(RulePrefix::BITS, prefix));
        maps::SOURCE_RULES.get(&key.0).map(|allowed| *allowed != 0)
    }

    #[inline(always)]
    fn bucket(&self, policy: u32) -> Option<&Bucket> {
        maps::BUCKETS.get(policy)
    }

    #[inline(always)]
    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets> {
        maps::SOURCE_BUCKETS.get(set)
    }

    #[inline(always)]
    fn server(&self, policy: u32, (id, length): (u64, u32)) -> Option<u16> {
        let key = ServerKey { id, policy, length };
        // SAFETY: the value is one aligned word, which a concurrent change cannot tear.
        unsafe { maps::SERVERS.get(key) }.map(|backend| *backend as u16)
    }

    #[inline(always)]
    fn range_line(&self, line: u32) -> Option<&RangeLine> {
        maps::RANGES.get(line)
    }

    #[inline(always)]
    fn prefix(&self, address: &Address) -> Option<Prefix> {
        let key = maps::PrefixKey(Key::new(MappedAddress::BITS, MappedAddress::of(address)));
        maps::PREFIXES.get(&key.0).copied()
    }

    #[inline(always)]
    fn fragment_set(&self, set: u32) -> Option<&FlowSet> {
        maps::FRAGMENTS.get(set)
    }

    #[inline(always)]
    fn translation(&self, tuple: &Tuple) -> Option<&Translation> {
        // SAFETY: what changes in a value are its cells, a word each. An entry that is removed at
        // this moment may get another flow's value, of which this packet then sees a part: one
        // packet of a flow that had ended.
        unsafe { maps::TRANSLATIONS.get(tuple) }
    }

    #[inline(always)]
    fn add_translation(&self, tuple: &Tuple, translation: &Translation) -> Result<(), NotAdded> {
        /// `EEXIST`, negative as the kernel returns it.
        const EXISTS: i32 = -17;

        maps::TRANSLATIONS
            .insert(tuple, translation, BPF_NOEXIST.into())
            .map_err(|error| if error == EXISTS { NotAdded::Taken } else { NotAdded::Full })
    }

    #[inline(always)]
    fn remove_translation(&self, tuple: &Tuple) {
        // Nothing is lost if it is gone already.
        let _ = maps::TRANSLATIONS.remove(tuple);
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context.as_ptr().cast::<aya_ebpf::bindings::xdp_md>()).ingress_ifindex }
    }

    #[inline(always)]
    fn redirect(&self, interface: u32) {
        // The answer is always to redirect: only unknown flags are refused here.
        // SAFETY: takes numbers only; an interface that does not exist is an error on the way out.
        let _ = unsafe { bpf_redirect(interface, 0) };
    }

    #[inline(always)]
    fn count_service(&self, id: u32, packet: Counters) {
        count(maps::SERVICE_COUNTERS.get_ptr_mut(id), packet);
    }

    #[inline(always)]
    fn count_backend(&self, id: u16, packet: Counters) {
        count(maps::BACKEND_COUNTERS.get_ptr_mut(u32::from(id)), packet);
    }
}

/// The kernel's tick count.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: takes nothing and reads a number.
    unsafe { bpf_jiffies64() }
}

#[inline(always)]
fn count(counters: Option<*mut Counters>, packet: Counters) {
    if let Some(counters) = counters {
        // SAFETY: this CPU's own value; XDP programs are not interrupted by one another there.
        unsafe { (*counters).count(packet) };
    }
}
