//! The packet core's two worlds on the host: a frame in a vector, tables in vectors.

use std::{cell::Cell, collections::BTreeSet};

use crate::{
    address::Address,
    backend::Backend,
    counters::Counters,
    decap::Gate,
    flow::{FlowSet, InsertBudget},
    frame::{Frame, Header},
    service::Service,
    settings::Settings,
    slot::SlotLine,
    tables::Tables,
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
    /// See [`Tables::now`].
    pub now: u16,
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

    fn now(&self) -> u16 {
        self.now
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
}
