//! How a service's new flows find their backend.

use std::time::Duration;

use lb_common::policy;

/// How a service's new flows find their backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// By the hash of addresses and ports: the slot table alone says it.
    #[default]
    ConsistentHash,
    /// By the hash of the client's address.
    SourceHash(Affinity),
    /// Each backend in turn.
    RoundRobin,
    /// Each backend in turn, as often as its weight says.
    WeightedRoundRobin,
    /// Any backend.
    Random,
    /// Any backend, as often as its weight says.
    WeightedRandom,
    /// Of two by chance, the one with fewer flows for its weight.
    TwoChoices,
    /// The backend with the fewest flows.
    LeastConnections,
    /// The backend with the fewest flows for its weight.
    WeightedLeastConnections,
    /// The backend with the least product of flows and time to answer for its weight.
    LeastResponseTime,
    /// By hash, among the backends with the lowest priority number of those that serve.
    PrimaryBackup,
}

/// How far a client's address counts, and for how long a client keeps its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Leading bits of an IPv4 address that count.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 address that count.
    pub ipv6_prefix: u8,
    /// Time without a new flow after which a client is forgotten; `None` remembers none.
    pub timeout: Option<Duration>,
}

impl Default for Affinity {
    /// An IPv6 client has a /64 to itself, from which it takes address after address (RFC 8981).
    fn default() -> Self {
        Self { ipv4_prefix: 32, ipv6_prefix: 64, timeout: None }
    }
}

/// Whether backends count by their weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighing {
    /// They do.
    #[default]
    ByWeight,
    /// Each counts as much as any other.
    Equal,
}

impl Scheduler {
    /// Every one with its word, those with an affinity with the usual one.
    pub const NAMES: [(&str, Self); 12] = [
        ("consistent-hash", Self::ConsistentHash),
        (
            "source-hash",
            Self::SourceHash(Affinity { ipv4_prefix: 32, ipv6_prefix: 64, timeout: None }),
        ),
        ("round-robin", Self::RoundRobin),
        ("weighted-round-robin", Self::WeightedRoundRobin),
        ("random", Self::Random),
        ("weighted-random", Self::WeightedRandom),
        ("two-choices", Self::TwoChoices),
        ("power-of-two-choices", Self::TwoChoices),
        ("least-connections", Self::LeastConnections),
        ("weighted-least-connections", Self::WeightedLeastConnections),
        ("least-response-time", Self::LeastResponseTime),
        ("primary-backup", Self::PrimaryBackup),
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsistentHash => "consistent-hash",
            Self::SourceHash(_) => "source-hash",
            Self::RoundRobin => "round-robin",
            Self::WeightedRoundRobin => "weighted-round-robin",
            Self::Random => "random",
            Self::WeightedRandom => "weighted-random",
            Self::TwoChoices => "two-choices",
            Self::LeastConnections => "least-connections",
            Self::WeightedLeastConnections => "weighted-least-connections",
            Self::LeastResponseTime => "least-response-time",
            Self::PrimaryBackup => "primary-backup",
        }
    }

    /// What packets are told of it.
    #[must_use]
    pub const fn in_packets(self) -> policy::Scheduler {
        match self {
            Self::ConsistentHash | Self::PrimaryBackup => policy::Scheduler::Slot,
            Self::SourceHash(Affinity { timeout: None, .. }) => policy::Scheduler::Slot,
            Self::SourceHash(_) => policy::Scheduler::Source,
            Self::RoundRobin | Self::WeightedRoundRobin => policy::Scheduler::Rotate,
            Self::Random | Self::WeightedRandom => policy::Scheduler::Random,
            Self::TwoChoices => policy::Scheduler::TwoChoices,
            Self::LeastConnections | Self::WeightedLeastConnections => {
                policy::Scheduler::LeastFlows
            }
            Self::LeastResponseTime => policy::Scheduler::LeastTime,
        }
    }

    /// Whether it asks for weights.
    #[must_use]
    pub const fn weighing(self) -> Weighing {
        match self {
            Self::RoundRobin | Self::Random | Self::LeastConnections => Weighing::Equal,
            _ => Weighing::ByWeight,
        }
    }

    /// Whether the slot table does not say which backend a new flow gets, so that every flow must be
    /// remembered.
    #[must_use]
    pub const fn remembers(self) -> bool {
        !matches!(self.in_packets(), policy::Scheduler::Slot)
    }

    /// How far clients' addresses count, where flows are told apart by these.
    #[must_use]
    pub const fn affinity(self) -> Option<Affinity> {
        match self {
            Self::SourceHash(affinity) => Some(affinity),
            _ => None,
        }
    }
}

impl Affinity {
    /// Leading bits that count of addresses of a family.
    #[must_use]
    pub const fn prefix(self, is_ipv6: bool) -> u8 {
        if is_ipv6 { self.ipv6_prefix } else { self.ipv4_prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_has_its_word() {
        for (name, scheduler) in Scheduler::NAMES {
            assert!(name == scheduler.name() || name == "power-of-two-choices", "{name}");
        }
    }

    #[test]
    fn an_affinity_that_lasts_is_remembered() {
        let lasting = Affinity { timeout: Some(Duration::from_secs(1)), ..Affinity::default() };
        assert!(Scheduler::SourceHash(lasting).remembers());
        assert!(!Scheduler::SourceHash(Affinity::default()).remembers());
        assert!(!Scheduler::PrimaryBackup.remembers());
    }
}
