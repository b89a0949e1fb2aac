//! Which backend gets a flow that begins, where the slot does not say.

use super::{Beside, Step, Work, choose, remembered};
use crate::{
    balance, dispute,
    flow::{self, FlowSet, Phase, Remembered},
    hash,
    load::Rotation,
    policy::{Policy, Scheduler, flag},
    slot::{SLOTS_PER_LINE, SlotLine},
    tables::Tables,
};

/// Steps of [`compare`] for the longest list.
pub const MOST_COMPARES: u32 = Scheduler::MOST_COMPARED as u32 / SLOTS_PER_LINE;

/// The best backend of those that were compared so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    /// Backends that were compared.
    compared: u16,
    backend: u16,
    weight: u16,
    cost: u64,
}

impl Best {
    pub(super) const NONE: Self = Self { compared: 0, backend: 0, weight: 0, cost: 0 };

    /// Whether a backend costs less for its weight, or as much and the flow prefers it.
    #[inline(always)]
    fn is_beaten(&self, backend: u16, weight: u16, cost: u64, flow: u64) -> bool {
        let mine = self.cost.wrapping_mul(u64::from(weight));
        let other = cost.wrapping_mul(u64::from(self.weight));
        let rank = |backend: u16| hash::spread(flow ^ u64::from(backend));
        self.backend == 0 || other < mine || (other == mine && rank(backend) > rank(self.backend))
    }
}

/// Chooses the backend of a flow that begins, or begins to compare them all.
#[inline(always)]
pub(super) fn schedule<T: Tables>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    let Beside { tables, policy, .. } = beside;
    let scheduler = policy.scheduler();
    if scheduler.compares() {
        (work.best.compared, work.best.backend) = (0, 0);
        return Step::Compare;
    }
    let index = work.found.table.policy();
    work.backend = match scheduler {
        Scheduler::Rotate | Scheduler::Random => turn(*tables, policy, index, work.flow),
        Scheduler::TwoChoices => {
            let turn = tables.rotation(index).map_or(0, Rotation::next);
            less_busy(*tables, policy, hash::spread(work.flow ^ u64::from(turn)))
        }
        Scheduler::Source => of_source(work, beside),
        _ => 0,
    };
    chosen(work, beside)
}

/// The backend that gets a flow in turn or by chance; 0 is nobody.
#[inline(always)]
pub(super) fn turn<T: Tables>(tables: &T, policy: &Policy, index: u32, flow: u64) -> u16 {
    let turn = tables.rotation(index).map_or(0, Rotation::next);
    let is_chance = matches!(policy.scheduler(), Scheduler::Random);
    let turn = if is_chance { hash::spread(flow ^ u64::from(turn)) as u32 } else { turn };
    turn_of(tables, policy, turn).0
}

/// What follows once a backend is chosen; 0 leaves it to the slot.
#[inline(always)]
fn chosen<T: Tables>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    if work.backend == 0 {
        work.backend = choose::slot(work, beside.tables).unwrap_or_default().current;
    }
    if beside.policy.asks(flag::NAT) { Step::Bind } else { Step::Enlist }
}

/// The backend whose turn it is, and its weight.
#[inline(always)]
fn turn_of<T: Tables>(tables: &T, policy: &Policy, turn: u32) -> (u16, u16) {
    let mask = (1_u32 << (policy.listed & 31)) - 1;
    let index = policy.list.wrapping_add(turn & mask);
    let entry = tables.slot_line(SlotLine::of(index)).map(|line| line.slot(index));
    entry.map_or((0, 0), |entry| (entry.current, entry.previous))
}

/// Of two backends by chance, the one with fewer flows for its weight: Mitzenmacher, "The Power of
/// Two Choices in Randomized Load Balancing", 2001.
#[inline(always)]
fn less_busy<T: Tables>(tables: &T, policy: &Policy, any: u64) -> u16 {
    let (one, weight) = turn_of(tables, policy, any as u32);
    let (other, other_weight) = turn_of(tables, policy, (any >> 32) as u32);
    let flows = |backend| tables.load(backend).map_or(0, |load| u64::from(load.flows())) + 1;
    // Turns follow weights already: with that, a heavy backend may have more flows.
    if flows(other) * u64::from(weight) < flows(one) * u64::from(other_weight) {
        other
    } else {
        one
    }
}

/// The backend that the packet's source has, or gets now: that of its slot.
#[inline(always)]
fn of_source<T: Tables>(work: &Work, beside: &Beside<'_, T>) -> u16 {
    let Beside { tables, settings, policy } = beside;
    let source = balance::source(settings, policy, &work.seen.packet, work.found.service);
    let current = choose::slot(work, *tables).unwrap_or_default().current;
    let Some(set) = tables.flow_set(FlowSet::of(source, settings.flow_mask)) else {
        return current;
    };
    let now = tables.now();
    let known = set.get(source).filter(|found| {
        flow::idle(now, found.seen) <= policy.source_timeout
            && dispute::is_alive(*tables, *found)
            && dispute::takes_new_flows(*tables, found.backend)
    });
    let Some(found) = known else {
        // Without a place the source goes by its slot.
        let _ = remembered::remember(source, &work.seen.packet.without_flags(), current, beside);
        return current;
    };
    if found.seen != now {
        let _ = set.put_leaving_room(source, Remembered { seen: now, phase: Phase::Open, ..found });
    }
    found.backend
}

/// Compares the next backends of the list, a line of them: the verifier would follow a loop over all
/// into each of its rounds.
#[inline(always)]
pub(super) fn compare<T: Tables>(work: &mut Work, beside: &Beside<'_, T>) -> Step {
    let Beside { tables, policy, .. } = beside;
    let start = policy.list.wrapping_add(u32::from(work.best.compared));
    let line = tables.slot_line(SlotLine::of(start));
    let mut offset = 0;
    while offset < SLOTS_PER_LINE as u16 {
        if let Some(line) = line
            && work.best.compared < policy.listed
        {
            let entry = line.slot(u32::from(offset));
            weigh(work, *tables, policy, (entry.current, entry.previous));
        }
        work.best.compared += 1;
        offset += 1;
    }
    if work.best.compared < policy.listed && work.best.compared < Scheduler::MOST_COMPARED {
        return Step::Compare;
    }
    work.backend = work.best.backend;
    chosen(work, beside)
}

/// Takes a backend of the list for the best, if it is.
#[inline(always)]
fn weigh<T: Tables>(work: &mut Work, tables: &T, policy: &Policy, (backend, weight): (u16, u16)) {
    let Some(load) = tables.load(backend) else { return };
    let flows = u64::from(load.flows()) + 1;
    let cost = match policy.scheduler() {
        Scheduler::LeastTime => flows.wrapping_mul(u64::from(load.latency()) + 1),
        _ => flows,
    };
    if weight != 0 && work.best.is_beaten(backend, weight, cost, work.flow) {
        work.best = Best { compared: work.best.compared, backend, weight, cost };
    }
}
