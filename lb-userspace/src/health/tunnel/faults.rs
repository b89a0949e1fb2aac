//! What keeps the path from being used, if anything does.

use std::sync::{Mutex, PoisonError};

/// What may be out of order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// The task that takes packets out of the device.
    Reader,
    /// Link, routes and rules.
    Routing,
}

/// What keeps the path from being used, by part.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<[Option<String>; 2]>);

impl Faults {
    /// Says how a part is now; true if that is news.
    pub(super) fn set(&self, part: Part, fault: Option<String>) -> bool {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = &mut faults[part as usize];
        let is_news = *before != fault;
        *before = fault;
        is_news
    }

    /// The first fault.
    pub(super) fn first(&self) -> Option<String> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().flatten().next().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_hide_each_other() {
        let faults = Faults::default();
        assert_eq!(faults.first(), None);
        assert!(faults.set(Part::Routing, Some("no rule".to_owned())));
        assert!(!faults.set(Part::Routing, Some("no rule".to_owned())));
        assert!(faults.set(Part::Reader, Some("gone".to_owned())));
        assert_eq!(faults.first().as_deref(), Some("gone"));
        assert!(faults.set(Part::Reader, None));
        assert_eq!(faults.first().as_deref(), Some("no rule"));
        assert!(faults.set(Part::Routing, None));
        assert_eq!(faults.first(), None);
    }
}
