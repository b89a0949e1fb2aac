//! How the packet core reads the tables, whoever holds them.

use crate::{
    address::Address,
    backend::Backend,
    bucket::{Bucket, SourceBuckets},
    counters::Counters,
    flow::{FlowCounters, FlowSet, InsertBudget},
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    policy::Policy,
    ranges::RangeLine,
    service::{Prefix, Service},
    settings::Settings,
    signals::Signals,
    slot::SlotLine,
};

/// The tables beside one packet: eBPF maps in the kernel, vectors on the host.
///
/// An index outside a table is `None`. Tables are shared with writers; see each type for what may
/// change under the reader.
pub trait Tables {
    /// What is the same for every packet.
    fn settings(&self) -> Option<&Settings>;
    /// A place of the service table.
    fn service(&self, place: u32) -> Option<&Service>;
    /// A line of slots, see [`SlotLine::of`].
    fn slot_line(&self, line: u32) -> Option<&SlotLine>;
    /// A backend.
    fn backend(&self, id: u16) -> Option<&Backend>;
    /// A set of the flow cache, see [`FlowSet::of`].
    fn flow_set(&self, set: u32) -> Option<&FlowSet>;
    /// This CPU's insertions into the flow cache.
    fn insert_budget(&self) -> Option<&InsertBudget>;
    /// This CPU's counters of the flow cache.
    fn flow_counters(&self) -> Option<&FlowCounters>;
    /// This CPU's counters of what tells of a backend's health.
    fn signals(&self, backend: u16) -> Option<&Signals>;
    /// How busy a backend is.
    fn load(&self, backend: u16) -> Option<&Load>;
    /// Whose turn it is with a policy.
    fn rotation(&self, policy: u32) -> Option<&Rotation>;
    /// The time in nanoseconds, from any beginning.
    fn nanoseconds(&self) -> u64;
    /// The time in ticks of the flow cache, modulo 65,536.
    fn now(&self) -> u16;
    /// This CPU's answers of its own (ICMP, RST), counted as insertions are.
    fn reply_budget(&self) -> Option<&InsertBudget>;
    /// The time in the kernel's clock ticks (jiffies).
    fn jiffies(&self) -> u64;
    /// A policy.
    fn policy(&self, index: u32) -> Option<&Policy>;
    /// Whether a policy allows a source, by the longest prefix that it has a rule for.
    fn source_rule(&self, policy: u32, source: &Address) -> Option<bool>;
    /// The bucket of a policy.
    fn bucket(&self, policy: u32) -> Option<&Bucket>;
    /// A set of the sources' buckets.
    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets>;
    /// The backend with a server identifier, a big-endian number and its length in bytes.
    fn server(&self, policy: u32, id: (u64, u32)) -> Option<u16>;
    /// A line of port ranges; line 0 is none.
    fn range_line(&self, line: u32) -> Option<&RangeLine>;
    /// The longest prefix with services that holds an address.
    fn prefix(&self, address: &Address) -> Option<Prefix>;
    /// A set of the fragment cache.
    fn fragment_set(&self, set: u32) -> Option<&FlowSet>;
    /// What becomes of packets of a translated flow, in either direction.
    fn translation(&self, tuple: &Tuple) -> Option<&Translation>;
    /// Adds a translation; an error tells why not, and changes nothing.
    fn add_translation(&self, tuple: &Tuple, translation: &Translation) -> Result<(), NotAdded>;
    /// Removes a translation.
    fn remove_translation(&self, tuple: &Tuple);
    /// Interface that the packet came in by.
    fn ingress(&self) -> u32;
    /// Sends the packet out of another interface once the verdict says so.
    fn redirect(&self, interface: u32);
    /// Adds to a service's counters.
    fn count_service(&self, id: u32, packet: Counters);
    /// Adds to a backend's counters.
    fn count_backend(&self, id: u16, packet: Counters);
}

/// Why a translation was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// Another flow has the same tuple.
    Taken,
    /// The table is full.
    Full,
}
