//! Which backend a flow goes to, and why, asked of the live tables without leaving a trace.

use std::net::SocketAddr;

use lb_common::{
    Address, Backend, Counters, FlowSet, Policy, Service, ServiceKey, Settings, Slot, SlotLine,
    Tables, balance,
    bucket::{Bucket, SourceBuckets},
    flow::InsertBudget,
    nat::{Translation, Tuple},
    packet::Packet,
    ranges::RangeLine,
    service::Prefix,
    tables::NotAdded,
};

use super::arrays::Arrays;

/// Where a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Identifier of the service.
    pub service: u32,
    /// Hash of the flow, whose lower bits are the slot in the service's table.
    pub flow: u64,
    /// What the slot says.
    pub slot: Slot,
    /// Backend that the flow cache remembers, if the slot is disputed.
    pub remembered: Option<u16>,
}

impl Found {
    /// Backend of a packet that does not begin a TCP flow.
    #[must_use]
    pub fn backend(&self) -> u16 {
        match (self.slot.is_disputed(), self.remembered) {
            (true, Some(backend)) => backend,
            (true, None) => self.slot.previous,
            (false, _) => self.slot.current,
        }
    }
}

/// Why a flow goes nowhere: the verdict that its packets get.
pub use lb_common::Verdict;

/// Asks where packets of a flow go.
pub fn lookup(
    arrays: &Arrays,
    protocol: u8,
    client: SocketAddr,
    service: SocketAddr,
) -> Result<Found, Verdict> {
    let settings = &arrays.settings[0];
    let key = ServiceKey::new(service.ip().into(), service.port(), protocol);
    let packet = Packet::of_flow(key, Address::from(client.ip()), client.port());
    let position = balance::locate(arrays, settings, &packet)?;
    let set = &arrays.flows[FlowSet::of(position.flow, settings.flow_mask) as usize];
    let is_alive = |id: u16, generation: u16| {
        let backend = &arrays.backends[usize::from(id)];
        backend.generation() == generation && backend.forward().is_some()
    };
    let remembered = set
        .get(position.flow)
        .filter(|found| is_alive(found.backend, found.generation))
        .map(|found| found.backend);
    Ok(Found { service: position.service, flow: position.flow, slot: position.slot, remembered })
}

/// The tables as a packet reads them, for questions: nothing is counted, sent or remembered.
impl Tables for Arrays {
    fn settings(&self) -> Option<&Settings> {
        self.settings.first()
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
        None
    }

    fn reply_budget(&self) -> Option<&InsertBudget> {
        None
    }

    fn now(&self) -> u16 {
        0
    }

    fn jiffies(&self) -> u64 {
        0
    }

    fn policy(&self, index: u32) -> Option<&Policy> {
        self.policies.get(index as usize)
    }

    fn source_rule(&self, _policy: u32, _source: &Address) -> Option<bool> {
        None
    }

    fn bucket(&self, policy: u32) -> Option<&Bucket> {
        self.buckets.get(policy as usize)
    }

    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets> {
        self.source_buckets.get(set as usize)
    }

    fn server(&self, _policy: u32, _id: (u64, u32)) -> Option<u16> {
        None
    }

    fn range_line(&self, line: u32) -> Option<&RangeLine> {
        self.ranges.get(line as usize)
    }

    fn prefix(&self, _address: &Address) -> Option<Prefix> {
        None
    }

    fn fragment_set(&self, set: u32) -> Option<&FlowSet> {
        self.fragments.get(set as usize)
    }

    fn translation(&self, _tuple: &Tuple) -> Option<&Translation> {
        None
    }

    fn add_translation(&self, _: &Tuple, _: &Translation) -> Result<(), NotAdded> {
        Err(NotAdded::Full)
    }

    fn remove_translation(&self, _tuple: &Tuple) {}

    fn ingress(&self) -> u32 {
        0
    }

    fn redirect(&self, _interface: u32) {}

    fn count_service(&self, _id: u32, _packet: Counters) {}

    fn count_backend(&self, _id: u16, _packet: Counters) {}
}
