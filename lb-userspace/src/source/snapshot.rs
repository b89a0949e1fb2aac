//! What a registry says, checked: all of it or nothing.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::model::{Backend, BackendRule, BadBackend, DEFAULT_WEIGHT, Priority, Weight};

/// Entries that one answer may have at most: ids of backends are 16 bits wide and 0 is nobody.
pub const MAX_ENTRIES: usize = 65_535;

/// All backends that a registry names at one moment; none is an answer too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Each address once, in ascending order.
    pub backends: Vec<Backend>,
}

/// Why an entry is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// The text is no address.
    #[error("this is not an IPv4 or IPv6 address")]
    NotAnAddress,
    /// The address cannot be a backend's.
    #[error(transparent)]
    Address(#[from] BadBackend),
    /// The weight is outside its range.
    #[error("the weight {0} is not a number from 0 to 65535")]
    Weight(i64),
    /// The priority is outside its range.
    #[error("the priority {0} is not a number from 0 to 255")]
    Priority(i64),
    /// What is said about the backend cannot be read.
    #[error("its value is not understood: {0}")]
    Value(String),
}

/// An answer while it is read.
///
/// One bad entry refuses the whole answer: who writes nonsense in one place may have lost entries
/// in another, and an answer that is too short takes traffic away from servers that work.
#[derive(Debug)]
pub(super) struct Draft {
    rule: BackendRule,
    entries: usize,
    backends: BTreeMap<IpAddr, Backend>,
}

impl Draft {
    pub(super) fn new(rule: BackendRule) -> Self {
        Self { rule, entries: 0, backends: BTreeMap::new() }
    }

    /// Adds an entry. Of several for one address the first counts, however they spell it.
    pub(super) fn add(
        &mut self,
        address: &str,
        weight: Option<i64>,
        priority: Option<i64>,
    ) -> Result<(), SourceError> {
        let refused = |problem| SourceError::entry(address.as_bytes(), problem);
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(SourceError::TooMany);
        }
        let parsed = address.parse::<IpAddr>().map_err(|_| refused(EntryProblem::NotAnAddress))?;
        // `::ffff:10.0.0.1` is another way to write `10.0.0.1`; no packet carries it.
        let parsed = parsed.to_canonical();
        self.rule.check(parsed).map_err(|problem| refused(problem.into()))?;
        let weight = weight.map_or(Ok(DEFAULT_WEIGHT), |weight| {
            Weight::try_from(weight).map_err(|_| refused(EntryProblem::Weight(weight)))
        })?;
        let priority = priority.map_or(Ok(0), |priority| {
            Priority::try_from(priority).map_err(|_| refused(EntryProblem::Priority(priority)))
        })?;
        let backend = Backend { address: parsed, weight, port: 0, priority };
        self.backends.entry(parsed).or_insert(backend);
        Ok(())
    }

    pub(super) fn finish(self) -> Snapshot {
        Snapshot { backends: self.backends.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use lb_common::Forward;
    use proptest::prelude::*;

    use super::*;

    const VIP: &str = "10.200.0.1";

    fn rule(forward: Forward) -> BackendRule {
        BackendRule { vip: VIP.parse().expect("address"), forward }
    }

    fn draft() -> Draft {
        Draft::new(rule(Forward::L2))
    }

    #[test]
    fn refuses_what_cannot_be_translated() {
        let mut draft = Draft::new(rule(Forward::Nat));
        draft.add("::ffff:10.0.1.11", None, None).expect("the service's IP version");
        let error = draft.add("fd00:1::11", None, None).expect_err("another one").to_string();
        assert!(error.contains("`fd00:1::11`") && error.contains("the same family"), "{error}");
    }

    #[test]
    fn sorts_and_merges_and_the_first_wins() {
        let mut draft = draft();
        for (address, weight) in [
            ("2001:db8::2", None),
            ("10.0.1.12", Some(7)),
            ("::ffff:10.0.1.12", Some(8)),
            ("10.0.1.3", Some(0)),
        ] {
            draft.add(address, weight, None).expect("good entry");
        }
        let found: Vec<_> = draft
            .finish()
            .backends
            .iter()
            .map(|backend| (backend.address.to_string(), backend.weight))
            .collect();
        let expected = [("10.0.1.3", 0), ("10.0.1.12", 7), ("2001:db8::2", DEFAULT_WEIGHT)];
        assert_eq!(found, expected.map(|(address, weight)| (address.to_owned(), weight)));
    }

    #[test]
    fn refuses_what_nobody_can_reach_and_names_it() {
        for address in [
            "0.0.0.0",
            "127.0.0.9",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "239.1.1.1",
            "ff02::1",
            VIP,
            "10.0.0.256",
            "10.0.0.1:80",
            "",
            "fe80::1%eth0",
        ] {
            let error = draft().add(address, None, None).expect_err(address).to_string();
            assert!(error.contains(&format!("`{address}`")), "{error}");
        }
    }

    #[test]
    fn refuses_weights_out_of_range() {
        for weight in [-1, 65_536, i64::MIN, i64::MAX] {
            let error = draft().add("10.0.0.1", Some(weight), None).expect_err("out of range");
            assert!(error.to_string().contains(&weight.to_string()), "{error}");
        }
        draft().add("10.0.0.1", Some(65_535), None).expect("the largest weight");
    }

    #[test]
    fn a_priority_is_a_byte() {
        for priority in [-1, 256] {
            let error = draft().add("10.0.0.1", None, Some(priority)).expect_err("out of range");
            assert!(error.to_string().contains(&format!("priority {priority}")), "{error}");
        }
        let mut draft = draft();
        draft.add("10.0.0.1", None, Some(255)).expect("the last");
        draft.add("10.0.0.2", None, None).expect("the usual");
        let priorities: Vec<_> = draft.finish().backends.iter().map(|b| b.priority).collect();
        assert_eq!(priorities, [255, 0]);
    }

    #[test]
    fn refuses_one_entry_too_many() {
        let mut draft = draft();
        for _ in 0..MAX_ENTRIES {
            draft.add("10.0.0.1", None, None).expect("there is room");
        }
        assert_eq!(draft.add("10.0.0.1", None, None), Err(SourceError::TooMany));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_may_be_sent_to(
            entries in prop::collection::vec((".{0,40}|[0-9a-f:.]{2,20}", any::<Option<i64>>()), 0..20),
        ) {
            let mut draft = draft();
            for (address, weight) in &entries {
                if let Err(error) = draft.add(address, *weight, None) {
                    prop_assert!(!error.to_string().contains(char::is_control), "{}", error);
                }
            }
            let backends = draft.finish().backends;
            prop_assert!(backends.is_sorted_by(|a, b| a.address < b.address));
            for backend in backends {
                prop_assert_eq!(rule(Forward::L2).check(backend.address), Ok(()));
            }
        }
    }
}
