//! What the tables are to say: the control core's answer, in the nouns of the kernel.

use lb_common::{Address, Forward, NextHop, ServiceKey, backend::Stance};

use super::policies::DesiredPolicy;
use crate::selection::{self, Member};

/// A service that is to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// What packets must match; unique.
    pub key: ServiceKey,
    /// Last port, where the key is that of a range; else 0. Ranges of one address and protocol do
    /// not overlap.
    pub last_port: u16,
    /// How packets get to its backends.
    pub forward: Forward,
    /// Its backends, each address once.
    pub members: Vec<DesiredMember>,
    /// Slots of its table, a power of two; `None` goes by the number of its members.
    pub table_slots: Option<u32>,
    /// What it asks for beyond the common way.
    pub policy: DesiredPolicy,
    /// What becomes of echo requests to its address, which does not contradict what other services
    /// of the address say; `None` says nothing.
    pub ping: Option<DesiredPing>,
}

impl DesiredService {
    /// A service that asks for nothing special.
    #[must_use]
    pub fn plain(key: ServiceKey, forward: Forward, members: Vec<DesiredMember>) -> Self {
        let policy = DesiredPolicy::default();
        Self { key, last_port: 0, forward, members, table_slots: None, policy, ping: None }
    }

    /// The members that have a part in the table, each behind its place in [`Self::members`]. Whoever
    /// only keeps flows has none, nor in the table's size: it is history, which another load balancer
    /// of the group does not share.
    pub fn sharers(&self) -> impl Iterator<Item = (usize, Member)> + '_ {
        let has_part = |member: &Member| member.base_weight > 0 || member.weight > 0;
        let members = self.members.iter().map(Member::from).enumerate();
        members.filter(move |(_, member)| has_part(member))
    }

    /// Binary logarithm of the size of its table.
    #[must_use]
    pub fn table_bits(&self) -> u8 {
        match self.table_slots {
            Some(slots) => slots.ilog2() as u8,
            None => selection::size_bits(self.sharers().count()),
        }
    }
}

impl From<&DesiredMember> for Member {
    fn from(member: &DesiredMember) -> Self {
        let DesiredMember { address, base_weight, weight, .. } = *member;
        Self { address, base_weight, weight }
    }
}

/// What becomes of echo requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DesiredPing {
    /// They pass, as those to other addresses do.
    Pass,
    /// The balancer answers.
    Answer,
    /// They go to the service's backends.
    Backend,
}

/// A backend of a service that is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredMember {
    /// Its own address.
    pub address: Address,
    /// Its own port, where packets are translated; 0 is the one that clients reach.
    pub port: u16,
    /// Weight as configured.
    pub base_weight: u32,
    /// Weight among those that take new flows; 0 takes none.
    pub weight: u32,
    /// What happens to the flows that it has.
    pub flows: Flows,
}

/// What happens to the flows that a backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flows {
    /// They stay, and new ones come.
    Stay,
    /// They stay for as long as it is said, not only for the grace time.
    Keep,
    /// They are over, and their clients are told so.
    Reset,
    /// They are forgotten, and go wherever the table says.
    Leave,
}

impl Flows {
    /// Whether packets still find the backend by what they know of their flow.
    #[must_use]
    pub const fn are_known(self) -> bool {
        !matches!(self, Self::Leave)
    }

    /// What packets see of it.
    #[must_use]
    pub const fn stance(self) -> Stance {
        match self {
            Self::Stay => Stance::Takes,
            Self::Keep | Self::Leave => Stance::Keeps,
            Self::Reset => Stance::Resets,
        }
    }
}

/// The way to a backend's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Our own address towards it.
    pub source: Address,
    /// The next hop.
    pub next: NextHop,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Why the first service that is not as desired is not. Packets see it as it was before.
    pub refused: Option<CommitError>,
    /// Services whose table was replaced.
    pub tables: Vec<ServiceKey>,
    /// Slots of tables of equal size whose current backend changed.
    pub moved_slots: u32,
    /// Identifiers that a service got in this commit: its counters start anew.
    pub new_services: Vec<u32>,
    /// Indices that a backend got in this commit: its counters start anew.
    pub new_backends: Vec<u16>,
}

impl Committed {
    /// An error if any service was refused.
    pub fn all(self) -> Result<Self, CommitError> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// Why a service was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// More services than entries.
    #[error("the service table is full: raise daemon.max_services")]
    ServicesFull,
    /// More backends than entries.
    #[error("the backend table is full: raise daemon.max_backends")]
    BackendsFull,
    /// No region is large enough for a service's table.
    #[error(
        "no room for a table of {wanted} slots ({used} of {capacity} are in use): raise daemon.max_slots"
    )]
    SlotsFull {
        /// Slots of the table.
        wanted: u32,
        /// Slots in use.
        used: u32,
        /// Slots in all.
        capacity: u32,
    },
    /// More rules for sources than entries.
    #[error("the table of source prefixes is full: {wanted} more do not fit")]
    RulesFull {
        /// Rules of the service.
        wanted: usize,
    },
    /// The kernel refused an entry.
    #[error("map {map}: {message}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        message: String,
    },
}
