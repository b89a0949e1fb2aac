//! Bases that are at hand: a change of health or weight needs only the repair.

use std::collections::{BTreeMap, VecDeque};

use lb_common::ServiceKey;

use super::{Member, pool::Pool};

/// Slots of all bases that are kept, 2 bytes each.
const MOST_SLOTS: usize = 1 << 22;
/// Slots of the smallest base that is kept. A smaller one is made as soon as it is repaired.
const LEAST_SLOTS: usize = 1 << 14;

/// Remembers the bases of services. A base is what [`super::table_of`] would compute, so nothing
/// but time depends on what is remembered.
#[derive(Debug, Default)]
pub struct Memo {
    bases: BTreeMap<ServiceKey, Base>,
    /// Keys in the order in which their bases were made.
    oldest: VecDeque<ServiceKey>,
    slots: usize,
}

#[derive(Debug)]
struct Base {
    salt: u64,
    identities: Vec<u64>,
    weights: Vec<u32>,
    owners: Vec<u16>,
}

impl Memo {
    /// As [`super::table_of`], for a service.
    #[must_use]
    pub fn table_of(
        &mut self,
        key: &ServiceKey,
        members: &[Member],
        salt: u64,
        bits: u8,
    ) -> Option<Vec<u16>> {
        let pool = Pool::new(members, salt);
        if let Some(base) = self.bases.get(key)
            && base.is_of(&pool, salt, bits)
        {
            return pool.table(&base.owners, salt);
        }
        let (identities, weights) = pool.shape();
        let (identities, weights) = (identities.to_vec(), weights.to_vec());
        let base = Base { salt, identities, weights, owners: pool.base(salt, bits) };
        let table = pool.table(&base.owners, salt);
        self.keep(*key, base);
        table
    }

    /// Forgets the base of a service that is no more.
    pub fn forget(&mut self, key: &ServiceKey) {
        if let Some(base) = self.bases.remove(key) {
            self.slots -= base.owners.len();
            self.oldest.retain(|kept| kept != key);
        }
    }

    fn keep(&mut self, key: ServiceKey, base: Base) {
        self.forget(&key);
        if base.owners.len() < LEAST_SLOTS {
            return;
        }
        self.slots += base.owners.len();
        self.bases.insert(key, base);
        self.oldest.push_back(key);
        while self.slots > MOST_SLOTS
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.slots -= self.bases.remove(&oldest).map_or(0, |base| base.owners.len());
        }
    }
}

impl Base {
    fn is_of(&self, pool: &Pool, salt: u64, bits: u8) -> bool {
        self.salt == salt
            && self.owners.len() == 1 << bits
            && pool.shape() == (&self.identities, &self.weights)
    }
}
