//! What waits for a hook.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    event::{EventKind, Told},
    model::ServiceName,
};

/// Events that may wait.
pub(super) const MOST: usize = 1000;

/// What an event happened to. Runs for the same subject follow each other.
pub(super) type Subject = (Option<ServiceName>, Option<IpAddr>);

/// Events in the order in which they came; of each kind and subject only the latest.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Arc<Told>>,
    places: HashMap<(EventKind, Subject), u64>,
    next: u64,
    busy: HashSet<Subject>,
}

/// What became of an event that was put in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits.
    Waits,
    /// It waits, and an earlier one of its kind and subject does not any more.
    Replaced,
    /// There is no room.
    Full,
}

impl Queue {
    /// Puts an event last; it takes the place of an earlier one of its kind and subject.
    pub(super) fn put(&mut self, told: Arc<Told>) -> Put {
        let key = (told.event.kind, subject(&told));
        if let Some(place) = self.places.get(&key) {
            self.waiting.insert(*place, told);
            return Put::Replaced;
        }
        if self.waiting.len() == MOST {
            return Put::Full;
        }
        self.places.insert(key, self.next);
        self.waiting.insert(self.next, told);
        self.next += 1;
        Put::Waits
    }

    /// Takes out what waits and is not so any more. True if there was something.
    pub(super) fn withdraw(&mut self, told: &Told) -> bool {
        let place = self.places.remove(&(told.event.kind, subject(told)));
        place.is_some_and(|place| self.waiting.remove(&place).is_some())
    }

    /// The first that waits for nothing but its turn. Its subject is busy until it is released.
    pub(super) fn take(&mut self) -> Option<Arc<Told>> {
        let is_free = |told: &Told| !self.busy.contains(&subject(told));
        let (place, _) = self.waiting.iter().find(|(_, told)| is_free(told))?;
        let place = *place;
        let told = self.waiting.remove(&place)?;
        self.places.remove(&(told.event.kind, subject(&told)));
        self.busy.insert(subject(&told));
        Some(told)
    }

    /// What ran for it has ended.
    pub(super) fn release(&mut self, told: &Told) {
        self.busy.remove(&subject(told));
    }

    /// Nothing waits any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.places.clear();
    }
}

fn subject(told: &Told) -> Subject {
    (told.event.service.clone(), told.event.backend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::testing::told;

    #[test]
    fn of_a_backend_only_the_latest_waits_in_its_place() {
        let mut queue = Queue::default();
        assert_eq!(queue.put(told(1, "10.0.0.1", "down")), Put::Waits);
        assert_eq!(queue.put(told(2, "10.0.0.2", "down")), Put::Waits);
        assert_eq!(queue.put(told(3, "10.0.0.1", "up")), Put::Replaced);
        assert_eq!(queue.take().expect("waits").sequence, 3);
        assert_eq!(queue.take().expect("waits").sequence, 2);
        assert!(queue.take().is_none());
    }

    #[test]
    fn a_backend_has_one_run_at_a_time() {
        let mut queue = Queue::default();
        queue.put(told(1, "10.0.0.1", "down"));
        let first = queue.take().expect("waits");
        queue.put(told(2, "10.0.0.1", "up"));
        queue.put(told(3, "10.0.0.2", "down"));
        assert_eq!(queue.take().expect("is free").sequence, 3);
        assert!(queue.take().is_none(), "the first has not ended");
        queue.release(&first);
        assert_eq!(queue.take().expect("is free now").sequence, 2);
    }

    #[test]
    fn what_is_not_so_any_more_is_withdrawn() {
        let mut queue = Queue::default();
        queue.put(told(1, "10.0.0.1", "down"));
        assert!(!queue.withdraw(&told(2, "10.0.0.2", "up")));
        assert!(queue.withdraw(&told(2, "10.0.0.1", "up")));
        assert!(queue.take().is_none());
        assert_eq!(queue.put(told(3, "10.0.0.1", "down")), Put::Waits);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut queue = Queue::default();
        for number in 0..MOST {
            let address = format!("10.0.{}.{}", number / 256, number % 256);
            assert_eq!(queue.put(told(1, &address, "down")), Put::Waits);
        }
        assert_eq!(queue.put(told(1, "10.1.0.0", "down")), Put::Full);
        // Who waits already can still be brought up to date.
        assert_eq!(queue.put(told(2, "10.0.0.0", "up")), Put::Replaced);
    }
}
