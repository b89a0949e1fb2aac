//! Members in the order in which everything is computed.

use lb_common::{Address, hash};

use super::{Member, base, bounds::Bounds, load::Load, repair::repair, shares::shares};

/// The members of a table, whatever order they came in.
pub(super) struct Pool {
    /// Index of each among the members as they came.
    order: Vec<u16>,
    identities: Vec<u64>,
    /// Weights that shape the base.
    base: Vec<u32>,
    /// Weights now.
    now: Vec<u32>,
}

impl Pool {
    pub(super) fn new(members: &[Member], salt: u64) -> Self {
        let identity = |index: &u16| identity(&members[usize::from(*index)].address, salt);
        let mut order: Vec<u16> = (0..members.len() as u16).collect();
        order.sort_by_cached_key(|index| (identity(index), members[usize::from(*index)].address));
        let sorted: Vec<Member> = order.iter().map(|index| members[usize::from(*index)]).collect();
        Self {
            identities: order.iter().map(identity).collect(),
            base: base::weights(&sorted),
            now: sorted.iter().map(|member| member.weight).collect(),
            order,
        }
    }

    /// What the base depends on, beside its size and the salt.
    pub(super) fn shape(&self) -> (&[u64], &[u32]) {
        (&self.identities, &self.base)
    }

    /// The base: the owner of each slot, in this order. Nobody's if nobody has a weight.
    pub(super) fn base(&self, salt: u64, bits: u8) -> Vec<u16> {
        if self.base.iter().all(|weight| *weight == 0) {
            return Vec::new();
        }
        let mut owners = base::spread(&self.base, &self.identities, bits);
        let bounds = Bounds::new(&self.base, &self.identities, 1 << bits);
        let load = Load::of_base(&owners, bounds);
        repair(&mut owners, load, salt);
        owners
    }

    /// The table over a base: owners are indices of members as they came. `None` if nobody has a
    /// weight.
    pub(super) fn table(&self, base: &[u16], salt: u64) -> Option<Vec<u16>> {
        if self.now.iter().all(|weight| *weight == 0) {
            return None;
        }
        let size = base.len() as u32;
        let mut owners = base.to_vec();
        let bounds = Bounds::new(&self.now, &self.identities, size);
        let load = Load::of_now(&owners, &shares(&self.base, size), bounds);
        repair(&mut owners, load, salt);
        for owner in &mut owners {
            *owner = self.order[usize::from(*owner)];
        }
        Some(owners)
    }
}

/// A number that stands for the member in all pseudo-random choices: nothing local, no history.
fn identity(address: &Address, salt: u64) -> u64 {
    let start = hash::spread(salt ^ u64::from(address.is_ipv6()));
    address.words().into_iter().fold(start, |hash, word| hash::spread(hash ^ u64::from(word)))
}
