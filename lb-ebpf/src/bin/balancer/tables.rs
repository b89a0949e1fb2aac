//! The tables beside a packet, in maps.

use aya_ebpf::{
    EbpfContext as _, bindings::xdp_action, helpers::bpf_redirect,
    helpers::generated::bpf_jiffies64, programs::XdpContext,
};
use core::cell::Cell;
use lb_common::{
    Action, Backend, Counters, FlowSet, Service, Settings, SlotLine, Tables, Verdict,
    flow::{InsertBudget, TICK},
};

use crate::maps;

/// The maps, seen by the program that runs for one packet.
pub(crate) struct MapTables<'a> {
    context: &'a XdpContext,
    /// What `bpf_redirect` answered.
    redirected: Cell<u32>,
}

impl<'a> MapTables<'a> {
    /// The maps beside the packet of `context`.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn new(context: &'a XdpContext) -> Self {
        Self { context, redirected: Cell::new(xdp_action::XDP_ABORTED) }
    }

    /// Counts the verdict and names its XDP action.
    #[inline(always)]
    #[must_use]
    pub(crate) fn settle(&self, verdict: Verdict) -> u32 {
        lb_ebpf::bump(maps::VERDICTS.get_ptr_mut(verdict as u32));
        #[cfg(feature = "log")]
        if verdict.action() == Action::Drop {
            aya_log_ebpf::debug!(self.context, "dropped a packet, verdict {}", verdict as u32);
        }
        match verdict.action() {
            Action::Pass => xdp_action::XDP_PASS,
            Action::Transmit => xdp_action::XDP_TX,
            Action::Redirect => self.redirected.get(),
            Action::Drop => xdp_action::XDP_DROP,
        }
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
    fn now(&self) -> u16 {
        (jiffies() >> TICK) as u16
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        // SAFETY: the context is the program's own.
        unsafe { (*self.context.as_ptr().cast::<aya_ebpf::bindings::xdp_md>()).ingress_ifindex }
    }

    #[inline(always)]
    fn redirect(&self, interface: u32) {
        // SAFETY: takes numbers only; an interface that does not exist is an error on the way out.
        self.redirected.set(unsafe { bpf_redirect(interface, 0) } as u32);
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
