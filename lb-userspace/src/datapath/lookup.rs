//! Which backend a flow goes to, and why, asked of the live tables without leaving a trace.

use std::net::SocketAddr;

use lb_common::{
    Address, Backend, Counters, FlowSet, Policy, Service, ServiceKey, Settings, Slot, SlotLine,
    Tables,
    balance::{self, Position},
    bucket::{Bucket, SourceBuckets},
    find,
    flow::{FlowCounters, InsertBudget},
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    packet::Packet,
    policy::{Scheduler, ServerKey, flag},
    ranges::RangeLine,
    service::{Prefix, UDP},
    signals::Signals,
    tables::NotAdded,
};

use super::{arrays::Arrays, keyed::SourceRule};

/// Where a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Identifier of the service.
    pub service: u32,
    /// Hash of the flow, whose lower bits are the slot in the service's table.
    pub flow: u64,
    /// What the slot says.
    pub slot: Slot,
    /// Backend that the flow cache remembers.
    pub remembered: Option<u16>,
    /// What the service asks for, as bits of [`flag`].
    pub asked: u32,
    /// Which backend a new flow gets.
    pub scheduler: Scheduler,
}

impl Found {
    /// Backend of a packet that does not begin a TCP flow, and how it follows.
    #[must_use]
    pub const fn backend(&self, protocol: u8) -> (u16, Why) {
        match (self.why(protocol), self.remembered) {
            (Why::Remembered, Some(backend)) => (backend, Why::Remembered),
            (Why::Older, _) => (self.slot.previous, Why::Older),
            (why, _) => (self.slot.current, why),
        }
    }

    const fn why(&self, protocol: u8) -> Why {
        match (protocol, self.slot.is_disputed(), self.remembered) {
            _ if self.asked & flag::NAT != 0 => Why::Translated,
            (UDP, ..) if self.asked & flag::QUIC != 0 => Why::Quic,
            (_, _, Some(_)) if self.asked & flag::REMEMBERED != 0 => Why::Remembered,
            (UDP, _, None) if !matches!(self.scheduler, Scheduler::Slot) => Why::Scheduled,
            (_, false, None) if !matches!(self.scheduler, Scheduler::Slot) => Why::Scheduled,
            (UDP, ..) | (_, false, _) => Why::Slot,
            (_, true, Some(_)) => Why::Remembered,
            (_, true, None) => Why::Older,
        }
    }
}

/// How a flow's backend follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the slot's.
    Slot,
    /// The flow is remembered.
    Remembered,
    /// The slot has changed since the flow began.
    Older,
    /// It is the slot's, unless the packet names another.
    Quic,
    /// It is the slot's for a new flow; others keep theirs.
    Translated,
    /// It is the slot's for a flow that goes on and is not remembered.
    Scheduled,
}

impl Why {
    /// One phrase for people.
    #[must_use]
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Slot => "the slot's backend",
            Self::Remembered => "the flow is remembered",
            Self::Older => {
                "the slot has changed; the flow is not remembered, so it is older than that"
            }
            Self::Quic => {
                "the slot's backend, unless the packet's connection identifier names another"
            }
            Self::Translated => {
                "a new flow goes here; one that is translated already stays where it is (lookup \
                 does not see which)"
            }
            Self::Scheduled => {
                "the slot's backend, since the flow is not remembered; one that begins gets whom the \
                 scheduler chooses"
            }
        }
    }
}

/// Why a flow goes nowhere: the verdict that its packets get.
pub use lb_common::Verdict;

/// Identifier of the service that packets to an address and port are for.
#[must_use]
pub fn service_at(arrays: &Arrays, protocol: u8, service: SocketAddr) -> Option<u32> {
    let key = ServiceKey::new(service.ip().into(), service.port(), protocol);
    let found = find::any(arrays, &arrays.settings[0], &key);
    found.table.is_present().then_some(found.service)
}

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
    let table = find::any(arrays, settings, &packet.key).table;
    let policy = arrays.policy(table.policy()).unwrap_or(&Policy::NONE);
    let rule = arrays.source_rule(table.policy(), &packet.client());
    if table.is_present() && !rule.unwrap_or(!policy.asks(flag::DENY_OTHERS)) {
        return Err(Verdict::SourceDenied);
    }
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
    let Position { service, flow, slot, .. } = position;
    let (asked, scheduler) = (policy.flags, policy.scheduler());
    Ok(Found { service, flow, slot, remembered, asked, scheduler })
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

    fn flow_counters(&self) -> Option<&FlowCounters> {
        None
    }

    fn signals(&self, _backend: u16) -> Option<&Signals> {
        None
    }

    fn load(&self, backend: u16) -> Option<&Load> {
        self.loads.get(usize::from(backend))
    }

    fn rotation(&self, _policy: u32) -> Option<&Rotation> {
        None
    }

    fn nanoseconds(&self) -> u64 {
        0
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

    fn source_rule(&self, policy: u32, source: &Address) -> Option<bool> {
        let rules = self.source_rules.entries().range(SourceRule::all_of(policy));
        let longest = rules.rev().find(|(rule, _)| rule.prefix.holds(source));
        longest.map(|(_, is_allowed)| *is_allowed != 0)
    }

    fn bucket(&self, policy: u32) -> Option<&Bucket> {
        self.buckets.get(policy as usize)
    }

    fn source_buckets(&self, set: u32) -> Option<&SourceBuckets> {
        self.source_buckets.get(set as usize)
    }

    fn server(&self, policy: u32, (id, length): (u64, u32)) -> Option<u16> {
        let key = ServerKey { id, policy, length };
        self.servers.entries().get(&key).map(|backend| *backend as u16)
    }

    fn range_line(&self, line: u32) -> Option<&RangeLine> {
        self.ranges.get(line as usize)
    }

    fn prefix(&self, address: &Address) -> Option<Prefix> {
        let mut prefixes = self.prefixes.entries().iter().rev();
        prefixes.find(|(prefix, _)| prefix.holds(address)).map(|(_, prefix)| *prefix)
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

#[cfg(test)]
mod tests {
    use lb_common::service::TCP;

    use super::*;

    #[test]
    fn a_backend_follows_from_slot_memory_and_what_the_service_asks_for() {
        let settled = Slot::settled(1);
        let disputed = Slot { current: 1, previous: 2 };
        for (protocol, asked, slot, remembered, expected) in [
            (TCP, 0, settled, Some(3), (1, Why::Slot)),
            (TCP, 0, disputed, Some(3), (3, Why::Remembered)),
            (TCP, 0, disputed, None, (2, Why::Older)),
            (TCP, flag::NAT, disputed, Some(3), (1, Why::Translated)),
            (UDP, 0, disputed, Some(3), (1, Why::Slot)),
            (UDP, flag::REMEMBERED, settled, Some(3), (3, Why::Remembered)),
            (UDP, flag::REMEMBERED, settled, None, (1, Why::Slot)),
            (UDP, flag::QUIC, settled, Some(3), (1, Why::Quic)),
        ] {
            let scheduler = Scheduler::Slot;
            let found = Found { service: 0, flow: 0, slot, remembered, asked, scheduler };
            assert_eq!(found.backend(protocol), expected, "{found:?}");
        }
    }

    #[test]
    fn a_flow_that_a_scheduler_placed_is_where_it_is_remembered() {
        let disputed = Slot { current: 1, previous: 2 };
        for (protocol, slot, remembered, expected) in [
            (TCP, Slot::settled(1), Some(3), (3, Why::Remembered)),
            (TCP, Slot::settled(1), None, (1, Why::Scheduled)),
            (TCP, disputed, None, (2, Why::Older)),
            (UDP, Slot::settled(1), None, (1, Why::Scheduled)),
        ] {
            let (asked, scheduler) = (flag::REMEMBERED, Scheduler::Rotate);
            let found = Found { service: 0, flow: 0, slot, remembered, asked, scheduler };
            assert_eq!(found.backend(protocol), expected, "{found:?}");
        }
    }
}
