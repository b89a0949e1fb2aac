//! Lists that schedulers choose from: turns, or backends that are compared.

use std::time::Duration;

use lb_common::{Policy, SLOTS_PER_LINE, Slot, policy::Scheduler};

use super::desired::DesiredMember;
use crate::{model::Weighing, selection};

/// Which backend gets a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DesiredScheduler {
    /// How one is chosen.
    pub choice: Scheduler,
    /// Whether weights count.
    pub weighing: Weighing,
    /// Time without a new flow after which a source is forgotten, for [`Scheduler::Source`].
    pub source_timeout: Duration,
}

impl DesiredScheduler {
    /// One that chooses like this, by weight.
    #[must_use]
    pub fn new(choice: Scheduler) -> Self {
        Self { choice, ..Self::default() }
    }

    /// Whether the slot table does not say which backend a new flow gets.
    #[must_use]
    pub const fn remembers(&self) -> bool {
        !matches!(self.choice, Scheduler::Slot)
    }

    /// The list for these members, whose indices are `ids`. Nobody who takes new flows: an empty
    /// one.
    pub(super) fn list(&self, members: &[DesiredMember], ids: &[u16]) -> List {
        if matches!(self.choice, Scheduler::Slot | Scheduler::Source) {
            return List::default();
        }
        let taking: Vec<(u16, u32)> = members
            .iter()
            .zip(ids)
            .filter(|(member, _)| member.weight > 0)
            .map(|(member, id)| (*id, self.weight(member)))
            .collect();
        if self.choice.compares() { compared(&taking) } else { turns(&taking) }
    }

    const fn weight(&self, member: &DesiredMember) -> u32 {
        match self.weighing {
            Weighing::ByWeight => member.weight,
            Weighing::Equal => 1,
        }
    }
}

/// What a scheduler chooses from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct List {
    /// Backends with their weights.
    entries: Vec<(u16, u16)>,
    /// See [`Policy::listed`].
    listed: u16,
}

impl List {
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) const fn listed(&self) -> u16 {
        self.listed
    }

    /// The slots that it takes: whole lines, for packets read a line at a time.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let slot =
            |(current, previous): &(u16, u16)| Slot { current: *current, previous: *previous };
        let mut slots: Vec<Slot> = self.entries.iter().map(slot).collect();
        slots.resize(slots.len().next_multiple_of(SLOTS_PER_LINE as usize), Slot::default());
        slots
    }
}

/// Slots that a policy's list takes; 0 has none.
pub(super) const fn slots_of(policy: &Policy) -> u32 {
    match policy.scheduler() {
        Scheduler::Slot | Scheduler::Source => 0,
        Scheduler::Rotate | Scheduler::Random | Scheduler::TwoChoices => 1 << (policy.listed & 31),
        Scheduler::LeastFlows | Scheduler::LeastTime => {
            (policy.listed as u32).next_multiple_of(SLOTS_PER_LINE)
        }
    }
}

/// Most slots that a list takes, of a service with so many backends.
#[must_use]
pub fn most_slots(choice: Scheduler, members: usize) -> usize {
    match choice {
        Scheduler::Slot | Scheduler::Source => 0,
        Scheduler::Rotate | Scheduler::Random | Scheduler::TwoChoices => {
            1 << selection::rotation_bits(members)
        }
        Scheduler::LeastFlows | Scheduler::LeastTime => {
            members.next_multiple_of(SLOTS_PER_LINE as usize)
        }
    }
}

fn turns(taking: &[(u16, u32)]) -> List {
    let weights: Vec<u32> = taking.iter().map(|(_, weight)| *weight).collect();
    let turns = selection::rotation(&weights);
    let entry = |turn: &u16| {
        let (id, weight) = taking[usize::from(*turn)];
        (id, within(weight))
    };
    let listed = turns.len().max(1).trailing_zeros() as u16;
    List { entries: turns.iter().map(entry).collect(), listed }
}

fn compared(taking: &[(u16, u32)]) -> List {
    // The configuration has no more; packets would not look at them.
    let taking = &taking[..taking.len().min(usize::from(Scheduler::MOST_COMPARED))];
    let entries: Vec<(u16, u16)> =
        taking.iter().map(|(id, weight)| (*id, within(*weight))).collect();
    List { listed: entries.len() as u16, entries }
}

/// A weight in 16 bits, which all of the configuration's have.
fn within(weight: u32) -> u16 {
    u16::try_from(weight).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use lb_common::Address;

    use super::*;
    use crate::datapath::desired::Flows;

    fn members(weights: &[u32]) -> (Vec<DesiredMember>, Vec<u16>) {
        let member = |(last, weight): (usize, &u32)| DesiredMember {
            address: Address::from(std::net::IpAddr::from([10, 0, 0, last as u8])),
            port: 0,
            base_weight: 100,
            weight: *weight,
            flows: Flows::Stay,
        };
        let members: Vec<_> = weights.iter().enumerate().map(member).collect();
        let ids = (0..members.len() as u16).map(|id| 40 + id).collect();
        (members, ids)
    }

    fn list(choice: Scheduler, weighing: Weighing, weights: &[u32]) -> List {
        let (members, ids) = members(weights);
        DesiredScheduler { choice, weighing, ..DesiredScheduler::default() }.list(&members, &ids)
    }

    #[test]
    fn turns_follow_weights_where_they_count() {
        let count = |list: &List, id| list.entries.iter().filter(|entry| entry.0 == id).count();
        let weighted = list(Scheduler::Rotate, Weighing::ByWeight, &[1, 0, 3]);
        assert_eq!([40, 41, 42].map(|id| count(&weighted, id)), [256, 0, 768]);
        let equal = list(Scheduler::Rotate, Weighing::Equal, &[1, 0, 3]);
        assert_eq!([40, 41, 42].map(|id| count(&equal, id)), [512, 0, 512]);
        assert_eq!((weighted.listed(), weighted.slots().len()), (10, 1024));
    }

    #[test]
    fn compared_backends_stand_once_with_their_weight() {
        let weighted = list(Scheduler::LeastFlows, Weighing::ByWeight, &[1, 0, 70_000]);
        assert_eq!(weighted.entries, [(40, 1), (42, u16::MAX)]);
        assert_eq!((weighted.listed(), weighted.slots().len()), (2, 16));
        let equal = list(Scheduler::LeastTime, Weighing::Equal, &[1, 0, 3]);
        assert_eq!(equal.entries, [(40, 1), (42, 1)]);
        let many = list(Scheduler::LeastFlows, Weighing::ByWeight, &[1; 2000]);
        assert_eq!((many.listed(), many.slots().len()), (1024, 1024));
    }

    #[test]
    fn a_list_takes_what_its_policy_says() {
        for (choice, weights) in [
            (Scheduler::Rotate, vec![1; 3]),
            (Scheduler::TwoChoices, vec![1; 100]),
            (Scheduler::LeastFlows, vec![1; 17]),
            (Scheduler::LeastTime, vec![1; 16]),
        ] {
            let list = list(choice, Weighing::ByWeight, &weights);
            let policy = Policy { scheduler: choice as u16, listed: list.listed(), ..Policy::NONE };
            assert_eq!(slots_of(&policy) as usize, list.slots().len(), "{choice:?}");
            assert_eq!(list.slots().len(), most_slots(choice, weights.len()), "{choice:?}");
        }
        assert_eq!(slots_of(&Policy::NONE), 0);
    }

    #[test]
    fn without_anybody_there_is_no_list() {
        for choice in [Scheduler::Slot, Scheduler::Source, Scheduler::Rotate, Scheduler::LeastTime]
        {
            assert!(list(choice, Weighing::ByWeight, &[0, 0]).is_empty(), "{choice:?}");
        }
        assert!(list(Scheduler::Slot, Weighing::ByWeight, &[1]).is_empty());
    }
}
