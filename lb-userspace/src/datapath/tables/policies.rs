//! Entries of `POLICIES`, with what belongs to them in other maps.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    Address, Policy, Slot, SlotLine, Table,
    bucket::Bucket,
    policy::{ServerKey, flag},
};

use super::{Retired, Tables};
use crate::datapath::{
    desired::{CommitError, DesiredService, Flows},
    keyed::{NotInserted, SourceRule},
    policies::{DesiredPolicy, DesiredUdp, Parts},
    schedulers,
};

impl Tables {
    /// The index of a service's policy: the one that its table names, if that is as desired; else
    /// another one, which no packet knows yet. `ids` are the backends' indices in the order of the
    /// members.
    pub(super) fn enter_policy(
        &mut self,
        service: &DesiredService,
        ids: &[u16],
        named: u32,
    ) -> Result<u32, CommitError> {
        if service.policy.is_plain() {
            return Ok(0);
        }
        let list = service.policy.scheduler.list(&service.members, ids);
        let parts = Parts { servers: servers(service, ids), list };
        let entry = service.policy.entry(self.hz, &parts);
        if named != 0 && self.arrays.policies[named as usize].fingerprint == entry.fingerprint {
            return Ok(named);
        }
        if self.free_policies.is_empty() {
            self.reclaim_now();
        }
        // There are two for each service.
        let index = self.free_policies.pop_front().ok_or(CommitError::ServicesFull)?;
        if let Err(error) = self.fill_policy(index, &service.policy, entry, &parts, named) {
            self.give_policy(index);
            return Err(error);
        }
        Ok(index)
    }

    fn fill_policy(
        &mut self,
        index: u32,
        policy: &DesiredPolicy,
        mut entry: Policy,
        Parts { servers, list }: &Parts,
        former: u32,
    ) -> Result<(), CommitError> {
        // An earlier daemon may have left it half done.
        self.arrays.policies.replace(index as usize, Policy::NONE);
        let wanted = policy.rules.len();
        if self.arrays.source_rules.room() < wanted || self.arrays.servers.room() < servers.len() {
            self.reclaim_now();
        }
        let bucket = self.bucket_after(former, &entry);
        self.arrays.buckets.replace(index as usize, bucket);
        for (prefix, is_allowed) in &policy.rules {
            let rule = SourceRule { policy: index, prefix: *prefix };
            let inserted = self.arrays.source_rules.insert(rule, u32::from(*is_allowed));
            inserted.map_err(|error| match error {
                NotInserted::Full => CommitError::RulesFull { wanted },
                NotInserted::Refused(error) => refused("SOURCE_RULES", &error),
            })?;
        }
        let length = entry.server_id.length.into();
        for (id, backend) in servers {
            let key = ServerKey { id: *id, policy: index, length };
            let inserted = self.arrays.servers.insert(key, u32::from(*backend));
            inserted.map_err(|error| refused("SERVERS", &error))?;
        }
        if !list.is_empty() {
            entry.list = self.write_slots(&list.slots())?;
        }
        self.arrays.policies.replace(index as usize, entry);
        Ok(())
    }

    /// The bucket of a policy that takes the place of `former`. A limit that stays as it is goes on
    /// where it was: changes of backends, which may come often, must not fill its bucket.
    fn bucket_after(&self, former: u32, entry: &Policy) -> Bucket {
        let before = &self.arrays.policies[former as usize];
        let is_same = former != 0
            && before.asks(flag::LIMITED)
            && entry.asks(flag::LIMITED)
            && before.limit == entry.limit;
        if is_same { self.arrays.buckets[former as usize].copy() } else { Bucket::default() }
    }

    /// Gives back a policy that no packet reads.
    pub(super) fn give_policy(&mut self, index: u32) {
        self.arrays.source_rules.retain(|rule| rule.policy != index);
        self.arrays.servers.retain(|server| server.policy != index);
        let policy = self.arrays.policies[index as usize];
        if schedulers::slots_of(&policy) > 0 {
            self.regions.give(policy.list, schedulers::slots_of(&policy));
        }
        self.arrays.policies.replace(index as usize, Policy::NONE);
        self.free_policies.push_back(index);
    }

    /// Retires a policy, unless it asks for nothing.
    pub(super) fn retire_policy(&mut self, index: u32) {
        self.retire((index != 0).then_some(Retired::Policy(index)));
    }

    /// The list that a table's scheduler chooses from, empty if there is none.
    pub(super) fn list(&self, table: Table) -> Vec<Slot> {
        let policy = &self.arrays.policies[table.policy() as usize];
        let slots = policy.list..policy.list + schedulers::slots_of(policy);
        slots.map(|index| self.arrays.slots[SlotLine::of(index) as usize].slot(index)).collect()
    }

    /// Takes over the policies that tables name. `None` if that cannot be.
    pub(super) fn read_policies(&mut self) -> Option<()> {
        let mut named = BTreeSet::new();
        for placed in self.services.values() {
            let index = self.arrays.services[placed.place as usize].table().policy();
            if index as usize >= self.arrays.policies.len() || (index != 0 && !named.insert(index))
            {
                return None;
            }
            let policy = &self.arrays.policies[index as usize];
            let slots = schedulers::slots_of(policy);
            if slots > 0 && !self.regions.claim(policy.list, slots) {
                return None;
            }
        }
        self.arrays.source_rules.retain(|rule| named.contains(&rule.policy));
        self.arrays.servers.retain(|server| named.contains(&server.policy));
        let all = 1..self.arrays.policies.len() as u32;
        self.free_policies = all.filter(|index| !named.contains(index)).collect();
        Some(())
    }
}

/// The backends with server identifiers, by these. One that is down has none: its connections find
/// another backend by their hash.
fn servers(service: &DesiredService, ids: &[u16]) -> BTreeMap<u64, u16> {
    let DesiredUdp::Quic { servers, .. } = &service.policy.udp else {
        return BTreeMap::new();
    };
    let members = service.members.iter().zip(ids);
    let serving = members.filter(|(member, _)| member.flows != Flows::Leave);
    let known = |address: &Address| servers.get(address).copied();
    serving.filter_map(|(member, id)| Some((known(&member.address)?, *id))).collect()
}

pub(super) fn refused(map: &'static str, error: &dyn std::error::Error) -> CommitError {
    CommitError::Map { map, message: error.to_string() }
}
