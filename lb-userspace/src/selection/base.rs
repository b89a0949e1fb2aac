//! The base: Maglev (Eisenbud et al., NSDI 2016) with a power-of-two size and odd skips.
//!
//! An odd number and a power of two have no common divisor, so each member's sequence of slots
//! visits all of them, as it does in the paper with a prime size, but with a mask for the modulo.

use lb_common::hash;

use super::{Member, shares::shares};

const NOBODY: u16 = u16::MAX;

/// The owner of each of `1 << bits` slots, in proportion to the configured weights.
///
/// If all of these are zero, the weights of now take their place. Members are in a fixed order.
pub(super) fn spread(members: &[Member], identities: &[u64], bits: u8) -> Vec<u16> {
    let size = 1_u32 << bits;
    let configured: Vec<u32> = members.iter().map(|member| member.base_weight).collect();
    let weights = if configured.iter().all(|weight| *weight == 0) {
        members.iter().map(|member| member.weight).collect()
    } else {
        configured
    };
    let mut sequences: Vec<Sequence> =
        identities.iter().map(|identity| Sequence::new(*identity, size - 1)).collect();
    let mut owners = vec![NOBODY; size as usize];
    for member in turns(&shares(&weights, size), size) {
        let sequence = &mut sequences[usize::from(member)];
        let free = loop {
            let slot = sequence.step() as usize;
            if owners[slot] == NOBODY {
                break slot;
            }
        };
        owners[free] = member;
    }
    owners
}

/// A member's own order of all slots.
struct Sequence {
    next: u32,
    skip: u32,
    mask: u32,
}

impl Sequence {
    fn new(identity: u64, mask: u32) -> Self {
        let mixed = hash::spread(identity);
        Self { next: mixed as u32 & mask, skip: (mixed >> 32) as u32 | 1, mask }
    }

    fn step(&mut self) -> u32 {
        let slot = self.next;
        self.next = slot.wrapping_add(self.skip) & self.mask;
        slot
    }
}

/// In which order members take their slots: a member with share `q` takes its `k`th at the time
/// `(k + 1/2) / q`, so that heavy members take theirs evenly between those of light ones. Sorted by
/// counting, in time proportional to the number of slots.
fn turns(shares: &[u32], size: u32) -> Vec<u16> {
    let time = |turn: u32, share: u32| {
        ((2 * u64::from(turn) + 1) * u64::from(size) / (2 * u64::from(share))) as usize
    };
    let mut starts = vec![0_u32; size as usize + 1];
    for share in shares {
        for turn in 0..*share {
            starts[time(turn, *share) + 1] += 1;
        }
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut turns = vec![0; size as usize];
    for (member, share) in shares.iter().enumerate() {
        for turn in 0..*share {
            let place = &mut starts[time(turn, *share)];
            turns[*place as usize] = member as u16;
            *place += 1;
        }
    }
    turns
}
