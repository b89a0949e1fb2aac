//! The base: each slot belongs to its first visitor.
//!
//! Every member visits all slots in an order of its own, in times that depend on its weight alone,
//! and takes those that nobody had before. This is rendezvous hashing (Thaler, Ravishankar, 1998),
//! with the sequences of Maglev (Eisenbud et al., NSDI 2016) for the scores: who leaves gives each
//! of its slots to the next visitor, and no other slot moves. Maglev lets a member that meets a
//! taken slot try on at once: shares are exact, but each change pushes many.
//!
//! Shares that come out of this are as uneven as chance has them, so a member stops when it has
//! 2 % more than its share: bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA 2018).

use super::{
    Member,
    bounds::Bounds,
    shares::total,
    visits::{Clock, Sequence, Time, step},
};

const NOBODY: u16 = u16::MAX;

/// The owner of each of `1 << bits` slots, in proportion to the base weights.
///
/// Members are in the order of their identities, of which one at least has a weight.
pub(super) fn spread(weights: &[u32], identities: &[u64], bits: u8) -> Vec<u16> {
    let mut race = Race::new(weights, identities, 1 << bits);
    let mut clock = Clock::new(&race.steps, total(weights));
    while !race.is_nearly_over() {
        for member in clock.portion(&race.active, &race.steps) {
            race.visit(*member);
        }
        race.drop_full();
    }
    race.finish();
    race.owners
}

/// The weights that shape the base: those of the configuration, or if all of these are zero, those
/// of now.
pub(super) fn weights(members: &[Member]) -> Vec<u32> {
    let configured: Vec<u32> = members.iter().map(|member| member.base_weight).collect();
    if configured.iter().any(|weight| *weight > 0) {
        return configured;
    }
    members.iter().map(|member| member.weight).collect()
}

struct Race {
    owners: Vec<u16>,
    sequences: Vec<Sequence>,
    steps: Vec<Option<Time>>,
    /// Visits that each has made.
    visits: Vec<u32>,
    room: Vec<u32>,
    /// Members that have room.
    active: Vec<u16>,
    free: u32,
}

impl Race {
    fn new(weights: &[u32], identities: &[u64], size: u32) -> Self {
        let room = Bounds::new(weights, identities, size).most;
        let has_room = |member: &u16| room[usize::from(*member)] > 0;
        Self {
            owners: vec![NOBODY; size as usize],
            sequences: identities.iter().map(|id| Sequence::new(*id, size - 1)).collect(),
            steps: weights.iter().map(|weight| step(*weight)).collect(),
            visits: vec![0; weights.len()],
            active: (0..weights.len() as u16).filter(has_room).collect(),
            room,
            free: size,
        }
    }

    fn visit(&mut self, member: u16) {
        let index = usize::from(member);
        if self.room[index] == 0 {
            return;
        }
        let slot = self.sequences[index].slot(self.visits[index]);
        self.visits[index] += 1;
        if self.owners[slot as usize] == NOBODY {
            self.give(slot, member);
        }
    }

    fn give(&mut self, slot: u32, member: u16) {
        self.owners[slot as usize] = member;
        self.room[usize::from(member)] -= 1;
        self.free -= 1;
    }

    fn drop_full(&mut self) {
        self.active.retain(|member| self.room[usize::from(*member)] > 0);
    }

    /// Whether it is less work to ask each free slot who comes first than to wait for visitors.
    fn is_nearly_over(&self) -> bool {
        self.free as usize * self.active.len() <= 2 * self.owners.len()
    }

    /// Gives each free slot to the first visitor among those that have room.
    fn finish(&mut self) {
        for slot in 0..self.owners.len() as u32 {
            if self.owners[slot as usize] != NOBODY {
                continue;
            }
            // The exact shares add up to all slots, so while one is free somebody has room.
            let Some(first) = self.active.iter().copied().min_by_key(|id| self.arrival(*id, slot))
            else {
                return;
            };
            self.give(slot, first);
            if self.room[usize::from(first)] == 0 {
                self.drop_full();
            }
        }
    }

    fn arrival(&self, member: u16, slot: u32) -> Time {
        let index = usize::from(member);
        let number = Time::from(self.sequences[index].number(slot));
        self.steps[index].map_or(Time::MAX, |step| step * (2 * number + 1) / 2)
    }
}
