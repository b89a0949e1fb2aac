//! How much of a service's new flows a change moves, and the least that it could.

use lb_common::{ServiceKey, Slot};

use super::Tables;
use crate::{
    datapath::desired::DesiredService,
    selection::{self, Member, Movement},
};

/// The index of a member that is none.
const NOBODY: u16 = u16::MAX;

impl Tables {
    /// What a change of a service would move, before it is made.
    #[must_use]
    pub fn preview(&self, before: &DesiredService, after: &DesiredService) -> Movement {
        if before == after {
            return Movement { slots: slots(after), moved: 0, least: 0 };
        }
        let owners = |service: &DesiredService, members: &[Member]| {
            let bits = service.table_bits();
            selection::table_of(members, self.salt, bits).unwrap_or_default()
        };
        let [old, new] = [before, after].map(members);
        selection::movement(&old, &owners(before, &old), &new, &owners(after, &new))
    }

    /// What the last change of a service moved; `None` before the first.
    #[must_use]
    pub fn last_movement(&self, key: &ServiceKey) -> Option<Movement> {
        self.movements.get(key).copied()
    }

    /// Keeps in mind what a change from `old` to `new` slots moves. `ids` are the backends' indices
    /// in the order of the members.
    pub(super) fn note_movement(
        &mut self,
        id: u32,
        service: &DesiredService,
        ids: &[u16],
        [old, new]: [&[Slot]; 2],
    ) {
        // What an earlier daemon wanted is not known, only what it came to.
        let Some(former) = self.current.get(&service.key) else { return };
        let former_ids: Vec<u16> = former
            .members
            .iter()
            .map(|member| self.backends.get(&(id, member.address)).copied().unwrap_or(0))
            .collect();
        let movement = selection::movement(
            &all_members(former),
            &owners(old, &former_ids),
            &all_members(service),
            &owners(new, ids),
        );
        self.movements.insert(service.key, movement);
    }
}

/// The owners of slots as indices into the members, whose backends' indices are `ids`.
fn owners(slots: &[Slot], ids: &[u16]) -> Vec<u16> {
    let mut members = vec![NOBODY; usize::from(u16::MAX) + 1];
    for (member, id) in ids.iter().enumerate() {
        members[usize::from(*id)] = member as u16;
    }
    // Index 0 is no backend's, also where a member has none any more.
    members[0] = NOBODY;
    slots.iter().map(|slot| members[usize::from(slot.current)]).collect()
}

/// Slots of a service's table: none if nobody takes new flows.
fn slots(service: &DesiredService) -> u32 {
    let serves = service.members.iter().any(|member| member.weight > 0);
    if serves { 1 << service.table_bits() } else { 0 }
}

fn members(service: &DesiredService) -> Vec<Member> {
    service.sharers().map(|(_, member)| member).collect()
}

fn all_members(service: &DesiredService) -> Vec<Member> {
    service.members.iter().map(Member::from).collect()
}
