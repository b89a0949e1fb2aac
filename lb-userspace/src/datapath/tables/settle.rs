//! Ending disputes: slots forget the backend before a change when its flows are gone.

use std::collections::BTreeSet;

use lb_common::{
    FlowSet, ServiceKey, Slot, SlotLine,
    backend::Stance,
    flow::{self, Phase, Remembered},
    policy::flag,
};

use super::Tables;
use crate::datapath::history;

impl Tables {
    /// Services with slots that still remember the backend before a change.
    #[must_use]
    pub fn disputed(&self) -> Vec<ServiceKey> {
        let is_disputed = |key: &&ServiceKey| self.slots(key).iter().any(|slot| slot.is_disputed());
        self.services.keys().filter(is_disputed).copied().collect()
    }

    /// Ends the dispute of a service's slots, except for those whose previous backend keeps flows and
    /// takes no new ones, or tells their clients that they are over, and those of remembered flows
    /// that were seen in the last `idle` ticks before `now` and would go elsewhere. Returns how many
    /// are still disputed.
    pub fn settle(&self, key: &ServiceKey, now: u16, idle: u16) -> u32 {
        let Some(placed) = self.services.get(key) else { return 0 };
        let table = self.arrays.services[placed.place as usize].table();
        let slots = self.read(table);
        if slots.is_empty() {
            return 0;
        }
        let is_alive =
            |flow: &Remembered| flow.phase != Phase::Closing && flow::idle(now, flow.seen) <= idle;
        let alive = match self.arrays.policies[table.policy() as usize].asks(flag::REMEMBERED) {
            // They are found whatever their slots say.
            true => BTreeSet::new(),
            false => self.slots_in_use(placed.id, &slots, is_alive),
        };
        let is_held =
            |backend: u16| self.arrays.backends[usize::from(backend)].stance() != Stance::Takes;
        let settled = history::settled(&slots, |index, slot| {
            is_held(slot.previous) || alive.contains(&index)
        });
        for (index, slot) in (table.base()..).zip(&settled) {
            self.arrays.slots[SlotLine::of(index) as usize].set(index, *slot);
        }
        settled.iter().filter(|slot| slot.is_disputed()).count() as u32
    }

    /// Slots, counted from the table's first, with remembered flows that are alive and not their
    /// current backend's.
    fn slots_in_use(
        &self,
        service: u32,
        slots: &[Slot],
        is_alive: impl Fn(&Remembered) -> bool,
    ) -> BTreeSet<usize> {
        self.arrays
            .flows
            .iter()
            .flat_map(FlowSet::iter)
            .filter(|(_, flow)| {
                let backend = &self.arrays.backends[usize::from(flow.backend)];
                backend.service() == service
                    && backend.generation() == flow.generation
                    && is_alive(flow)
            })
            .map(|(hash, flow)| (hash as usize & (slots.len() - 1), flow))
            .filter(|(index, flow)| slots[*index].current != flow.backend)
            .map(|(index, _)| index)
            .collect()
    }
}
