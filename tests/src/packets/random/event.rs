//! What happens to the tables while packets flow.

use fastrand::Rng;
use lb_common::{Slot, SlotLine};

use super::{desired::random_next_hop, once_in, one_of};
use crate::packets::Balancer;

/// One change of the tables, of those that packets see from one to the next: a next hop, the flows
/// of a backend, a slot.
pub fn happen(rng: &mut Rng, balancer: &Balancer) {
    let arrays = balancer.arrays();
    let backend = &arrays.backends[rng.usize(1..12)];
    match rng.u8(..4) {
        0 => backend.set_next_hop(random_next_hop(rng)),
        1 => {
            let mut next = backend.next_hop();
            rng.fill(&mut next.link.destination);
            backend.set_next_hop(next);
        }
        2 => backend.forget_flows(),
        _ => {
            let slots = rng.u32(..32_768);
            for index in slots..slots + 4096 {
                let line = &arrays.slots[SlotLine::of(index) as usize];
                let Slot { current, .. } = line.slot(index);
                let previous = if once_in(rng, 2) { current } else { one_of(rng, &[0, 1, 2]) };
                line.set(index, Slot { current, previous });
            }
        }
    }
}
