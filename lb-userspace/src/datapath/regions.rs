//! Which slots are in use: a first-fit allocator over the slot array.

use std::collections::BTreeMap;

/// Free regions by their first slot, none of which touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    free: BTreeMap<u32, u32>,
    capacity: u32,
}

impl Regions {
    /// `capacity` free slots.
    #[must_use]
    pub(super) fn new(capacity: u32) -> Self {
        Self { free: BTreeMap::from([(0, capacity)]), capacity }
    }

    /// Slots in use.
    #[must_use]
    pub(super) fn used(&self) -> u32 {
        self.capacity - self.free.values().sum::<u32>()
    }

    /// Takes the first free region of `len` slots and returns where it starts.
    pub(super) fn take(&mut self, len: u32) -> Option<u32> {
        let (start, have) = self
            .free
            .iter()
            .find(|(_, have)| **have >= len)
            .map(|(start, have)| (*start, *have))?;
        self.free.remove(&start);
        if have > len {
            self.free.insert(start + len, have - len);
        }
        Some(start)
    }

    /// Takes a certain region; false if it is not free as a whole.
    #[must_use]
    pub(super) fn claim(&mut self, start: u32, len: u32) -> bool {
        let Some((before, have)) = self.free.range(..=start).next_back().map(|(s, l)| (*s, *l))
        else {
            return false;
        };
        let (end, free_end) = (start.saturating_add(len), before + have);
        if len == 0 || end > free_end {
            return false;
        }
        self.free.remove(&before);
        if before < start {
            self.free.insert(before, start - before);
        }
        if end < free_end {
            self.free.insert(end, free_end - end);
        }
        true
    }

    /// Gives a region back.
    pub(super) fn give(&mut self, start: u32, len: u32) {
        let (mut start, mut len) = (start, len);
        if let Some((before, have)) = self.free.range(..start).next_back().map(|(s, l)| (*s, *l))
            && before + have == start
        {
            self.free.remove(&before);
            (start, len) = (before, have + len);
        }
        if let Some(have) = self.free.remove(&(start + len)) {
            len += have;
        }
        self.free.insert(start, len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_grows_together() {
        let mut regions = Regions::new(64);
        let taken: Vec<u32> = (0..4).map(|_| regions.take(16).expect("room")).collect();
        assert_eq!(taken, [0, 16, 32, 48]);
        assert_eq!(regions.take(1), None);
        for start in [16, 48, 0, 32] {
            regions.give(start, 16);
        }
        assert_eq!(regions, Regions::new(64));
    }

    #[test]
    fn claims_only_what_is_free() {
        let mut regions = Regions::new(64);
        assert!(regions.claim(16, 16));
        assert!(!regions.claim(0, 32));
        assert!(!regions.claim(31, 1));
        assert!(!regions.claim(60, 8));
        assert!(!regions.claim(u32::MAX, 8));
        assert!(regions.claim(32, 32));
        assert_eq!(regions.used(), 48);
    }
}
