//! In which order each member visits the slots, and at what times.

use lb_common::hash;

/// A member's own order of all slots: an odd skip, which has no common divisor with a power of two,
/// visits each once, as Maglev's skips do with a prime size, but with a mask for the modulo.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    start: u32,
    skip: u32,
    /// `skip` times this is 1, modulo 2^32 and so modulo the size.
    inverse: u32,
    mask: u32,
}

impl Sequence {
    pub(super) fn new(identity: u64, mask: u32) -> Self {
        let mixed = hash::spread(identity);
        let skip = (mixed >> 32) as u32 | 1;
        // Newton's iteration doubles the right bits; an odd number is its own inverse in three.
        let better = |found: u32| found.wrapping_mul(2_u32.wrapping_sub(skip.wrapping_mul(found)));
        let inverse = (0..4).fold(skip, |found, _| better(found));
        Self { start: mixed as u32, skip, inverse, mask }
    }

    /// The slot of visit `number`.
    pub(super) fn slot(&self, number: u32) -> u32 {
        self.start.wrapping_add(self.skip.wrapping_mul(number)) & self.mask
    }

    /// The number of the visit to a slot.
    pub(super) fn number(&self, slot: u32) -> u32 {
        slot.wrapping_sub(self.start).wrapping_mul(self.inverse) & self.mask
    }
}

/// The time of a visit: the `k`th of a member with weight `w` is at `(k + 1/2) / w`, whoever else
/// there is, so that the order of two members' visits never depends on a third.
pub(super) type Time = u64;

const UNIT: Time = 1 << 40;

/// Time between two visits of a member. Without weight it makes none.
pub(super) fn step(weight: u32) -> Option<Time> {
    UNIT.checked_div(Time::from(weight))
}

/// Visits of all members in the order of time, in portions.
#[derive(Debug)]
pub(super) struct Clock {
    next: Vec<Time>,
    /// One grain of time sees about one visit.
    grain: u32,
    /// Grains in a portion, enough for a few visits of each member.
    portion: u64,
    now: u64,
    starts: Vec<u32>,
    visits: Vec<u16>,
}

impl Clock {
    pub(super) fn new(steps: &[Option<Time>], total: u64) -> Self {
        let portion = (steps.len() as u64 * 4).next_power_of_two().max(256);
        Self {
            next: steps.iter().map(|step| step.unwrap_or(Time::MAX) / 2).collect(),
            grain: (UNIT / total.max(1)).max(1).ilog2(),
            portion,
            now: 0,
            starts: vec![0; portion as usize + 1],
            visits: Vec::new(),
        }
    }

    /// The next portion: who visits, in order, of the members that still do. Sorted by counting;
    /// those of the same grain in the order of members.
    pub(super) fn portion(&mut self, active: &[u16], steps: &[Option<Time>]) -> &[u16] {
        let (grain, now) = (self.grain, self.now);
        let end = (now + self.portion) << grain;
        let times = |member: u16, next: &[Time]| {
            let first = next[usize::from(member)];
            let step = steps[usize::from(member)].unwrap_or(Time::MAX);
            std::iter::successors(Some(first), move |time| time.checked_add(step))
                .take_while(move |time| *time < end)
        };
        self.starts.fill(0);
        for member in active {
            for time in times(*member, &self.next) {
                self.starts[((time >> grain) - now) as usize + 1] += 1;
            }
        }
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
        self.visits.resize(self.starts[self.portion as usize] as usize, 0);
        for member in active {
            let mut made = 0;
            for time in times(*member, &self.next) {
                let place = &mut self.starts[((time >> grain) - now) as usize];
                self.visits[*place as usize] = *member;
                *place += 1;
                made += 1;
            }
            if let Some(step) = steps[usize::from(*member)] {
                self.next[usize::from(*member)] += made * step;
            }
        }
        self.now += self.portion;
        &self.visits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_visits_every_slot_once_and_knows_when() {
        for identity in 0..20 {
            let sequence = Sequence::new(identity, 0xfff);
            let mut seen = vec![false; 0x1000];
            for number in 0..0x1000 {
                let slot = sequence.slot(number);
                assert!(!std::mem::replace(&mut seen[slot as usize], true));
                assert_eq!(sequence.number(slot), number);
            }
        }
    }

    #[test]
    fn heavy_members_visit_in_proportion_and_in_between() {
        let steps = [step(1), step(3), step(0)];
        let mut clock = Clock::new(&steps, 4);
        let visits = clock.portion(&[0, 1, 2], &steps).to_vec();
        assert_eq!(&visits[..8], [1, 1, 0, 1, 1, 1, 0, 1]);
        assert!(!clock.portion(&[0, 1, 2], &steps).contains(&2));
    }
}
