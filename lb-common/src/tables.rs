//! How the packet core reads the tables, whoever holds them.

use crate::{
    backend::Backend,
    counters::Counters,
    flow::{FlowSet, InsertBudget},
    service::Service,
    settings::Settings,
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
    /// The time in ticks of the flow cache, modulo 65,536.
    fn now(&self) -> u16;
    /// Interface that the packet came in by.
    fn ingress(&self) -> u32;
    /// Sends the packet out of another interface once the verdict says so.
    fn redirect(&self, interface: u32);
    /// Adds to a service's counters.
    fn count_service(&self, id: u32, packet: Counters);
    /// Adds to a backend's counters.
    fn count_backend(&self, id: u16, packet: Counters);
}
