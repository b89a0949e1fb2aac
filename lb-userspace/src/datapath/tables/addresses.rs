//! What packets must know of addresses: entries of `SERVICES` beside those of the services, lines
//! of `RANGES`, and `PREFIXES`.

use std::collections::BTreeSet;

use lb_common::{
    Service, ServiceKey, Table,
    ranges::RangeLine,
    service::{AddressEntry, Prefix},
};

use super::{Retired, Tables, policies::refused};
use crate::datapath::{
    addresses::{self, AddressFacts},
    desired::{CommitError, DesiredService},
};

impl Tables {
    /// Forgets prefixes that have no services any more: packets look for those of a shorter one.
    pub(super) fn retire_prefixes(&mut self, desired: &[DesiredService]) {
        let wanted = addresses::prefixes(desired);
        self.arrays.prefixes.retain(|prefix| wanted.contains_key(prefix));
    }

    /// Lets packets find the services of prefixes, whose tables are there.
    pub(super) fn enter_prefixes(&mut self, desired: &[DesiredService]) -> Result<(), CommitError> {
        let enter = |(prefix, value): (_, Prefix)| self.arrays.prefixes.insert(prefix, value);
        let entered = addresses::prefixes(desired).into_iter().try_for_each(enter);
        entered.map_err(|error| refused("PREFIXES", &error))
    }

    /// Forgets addresses that have no services any more.
    pub(super) fn retire_addresses(&mut self, desired: &[DesiredService]) {
        let wanted = addresses::facts(desired);
        let gone: Vec<ServiceKey> =
            self.known_addresses.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            let Some(place) = self.known_addresses.remove(&key) else { continue };
            let entry = self.address_entry(place);
            self.arrays.services[place as usize].publish(Table::NONE);
            self.occupants.remove(&place);
            self.retire([Retired::Place(place)]);
            self.retire_line(entry.ranges());
        }
    }

    /// Makes packets know of addresses what follows from their services.
    pub(super) fn enter_addresses(
        &mut self,
        desired: &[DesiredService],
    ) -> Result<(), CommitError> {
        let mut result = Ok(());
        for (key, facts) in &addresses::facts(desired) {
            // One that does not fit does not keep others from changing.
            result = result.and(self.commit_address(key, facts));
        }
        result
    }

    fn commit_address(
        &mut self,
        key: &ServiceKey,
        facts: &AddressFacts,
    ) -> Result<(), CommitError> {
        let place = match self.known_addresses.get(key) {
            Some(place) => *place,
            None => {
                let place = self.free_place(key).ok_or(CommitError::ServicesFull)?;
                self.arrays.services.replace(place as usize, Service::unpublished(*key, 0));
                self.known_addresses.insert(*key, place);
                place
            }
        };
        let before = self.address_entry(place);
        let line = self.enter_ranges(&facts.ranges, before.ranges())?;
        let entry = facts.entry(line);
        if entry != before {
            self.arrays.services[place as usize].publish(entry.table());
        }
        if line != before.ranges() {
            self.retire_line(before.ranges());
        }
        Ok(())
    }

    fn address_entry(&self, place: u32) -> AddressEntry {
        AddressEntry::from_table(self.arrays.services[place as usize].table())
    }

    /// The line that lists some ranges: the one that is named, if it does; else another one, which
    /// no packet knows yet.
    fn enter_ranges(&mut self, ranges: &[(u16, u16)], named: u32) -> Result<u32, CommitError> {
        if ranges.is_empty() {
            return Ok(0);
        }
        let before = &self.arrays.ranges[named as usize];
        if named != 0 && before.iter().eq(ranges.iter().copied()) {
            return Ok(named);
        }
        if self.free_lines.is_empty() {
            self.reclaim_now();
        }
        // There are two for each service.
        let line = self.free_lines.pop_front().ok_or(CommitError::ServicesFull)?;
        self.arrays.ranges.replace(line as usize, RangeLine::new(ranges));
        Ok(line)
    }

    fn retire_line(&mut self, line: u32) {
        self.retire((line != 0).then_some(Retired::Line(line)));
    }

    /// Takes over the lines that addresses name. `None` if that cannot be.
    pub(super) fn read_lines(&mut self) -> Option<()> {
        let mut named = BTreeSet::new();
        for place in self.known_addresses.values() {
            let line = self.address_entry(*place).ranges();
            if line as usize >= self.arrays.ranges.len() || (line != 0 && !named.insert(line)) {
                return None;
            }
        }
        let all = 1..self.arrays.ranges.len() as u32;
        self.free_lines = all.filter(|line| !named.contains(line)).collect();
        Some(())
    }
}
