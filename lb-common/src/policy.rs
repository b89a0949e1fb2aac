//! `POLICIES`: what a service asks for beyond the common way.
//!
//! A service's table word names its policy, so that a table and the policy that belongs to it come
//! into force in one store. A policy is written before it is named and never changes; another one
//! takes another place. Policy 0 asks for nothing.

use crate::bucket::Rate;

/// Bits of [`Policy::flags`].
pub mod flag {
    /// Sources are looked up in `SOURCE_RULES`.
    pub const RULES: u32 = 1;
    /// Sources for which there is no rule are denied.
    pub const DENY_OTHERS: u32 = 1 << 1;
    /// New flows are limited in all.
    pub const LIMITED: u32 = 1 << 2;
    /// New flows of each source are limited.
    pub const SOURCE_LIMITED: u32 = 1 << 3;
    /// Without a backend clients are told so, by RST or ICMP, instead of nothing.
    pub const REFUSE: u32 = 1 << 4;
    /// Backends are reached by translation of addresses.
    pub const NAT: u32 = 1 << 5;
    /// Flows of UDP are remembered, and with a scheduler those of TCP too.
    pub const REMEMBERED: u32 = 1 << 6;
    /// UDP packets go by the server that their QUIC connection identifier names.
    pub const QUIC: u32 = 1 << 7;
    /// Slots are chosen by client address alone, as far as [`super::Policy::source_mask`] lets it
    /// count: every fragment tells its flow, and clients stay where they are.
    pub const BY_ADDRESS: u32 = 1 << 8;
    /// With [`NAT`], the first answer to each flow of TCP is looked at, see [`crate::signals::Signals`].
    pub const WATCHED: u32 = 1 << 9;
}

/// Where a QUIC connection identifier holds the server's, draft-ietf-quic-load-balancers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerIdLayout {
    /// Bytes of the connection identifier before it, 0 to 18.
    pub offset: u16,
    /// Bytes of it, 1 to 8.
    pub length: u16,
}

/// One value of `POLICIES`: 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What is asked for, as bits of [`flag`].
    pub flags: u32,
    /// Ticks of the flow cache after which a silent UDP flow is forgotten.
    pub flow_timeout: u16,
    /// Ticks of the flow cache after which a source without new flows is forgotten, see
    /// [`Scheduler::Source`].
    pub source_timeout: u16,
    /// New flows in all.
    pub limit: Rate,
    /// New flows of one source: an IPv4 address or an IPv6 /64.
    pub source_limit: Rate,
    /// Where to find the server's identifier.
    pub server_id: ServerIdLayout,
    /// First and last of the ports that translated flows show to backends, `first | last << 16`.
    pub nat_ports: u32,
    /// Hash of all that the policy consists of, its rules and server identifiers included, by
    /// which a daemon knows a policy that another one left. The packet path does not read it.
    pub fingerprint: u64,
    /// With [`flag::BY_ADDRESS`], the bits of a client's address that count, in words as in
    /// [`crate::Address`].
    pub source_mask: [u32; 4],
    /// First slot of the list that the scheduler chooses from: backends, each with its weight in the
    /// place of the previous one.
    pub list: u32,
    /// Length of the list: of a list of turns its binary logarithm, of one of backends their number.
    pub listed: u16,
    /// Which backend gets a new flow, a number of [`Scheduler`].
    pub scheduler: u16,
}

const _: () = assert!(size_of::<Policy>() == 64);

impl Policy {
    /// A policy that asks for nothing.
    pub const NONE: Self = Self {
        flags: 0,
        flow_timeout: 0,
        source_timeout: 0,
        limit: Rate { per_jiffy: 0, burst: 0 },
        source_limit: Rate { per_jiffy: 0, burst: 0 },
        server_id: ServerIdLayout { offset: 0, length: 0 },
        nat_ports: 0,
        fingerprint: 0,
        source_mask: [0; 4],
        list: 0,
        listed: 0,
        scheduler: 0,
    };

    /// Which backend gets a new flow.
    #[inline(always)]
    #[must_use]
    pub const fn scheduler(&self) -> Scheduler {
        Scheduler::from_number(self.scheduler)
    }

    /// Whether it asks for what the bit of [`flag`] stands for.
    #[inline(always)]
    #[must_use]
    pub const fn asks(&self, bit: u32) -> bool {
        self.flags & bit != 0
    }
}

/// Which backend gets a new flow. Whatever is not remembered goes by the slot table.
#[repr(u16)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// That of its slot.
    #[default]
    Slot = 0,
    /// The next of a list of turns.
    Rotate = 1,
    /// Any of a list of turns.
    Random = 2,
    /// Of two of a list of turns, the one with fewer flows for its weight.
    TwoChoices = 3,
    /// Of a list of backends, the one with the fewest flows for its weight.
    LeastFlows = 4,
    /// Of a list of backends, the one with the least product of flows and time to answer for its
    /// weight.
    LeastTime = 5,
    /// The one that its source has, as long as that takes new flows; else that of its slot.
    Source = 6,
}

impl Scheduler {
    /// Most backends of a service whose scheduler looks at all of them.
    pub const MOST_COMPARED: u16 = 1024;

    /// The scheduler with a number; one that is not known goes by the slots.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Rotate,
            2 => Self::Random,
            3 => Self::TwoChoices,
            4 => Self::LeastFlows,
            5 => Self::LeastTime,
            6 => Self::Source,
            _ => Self::Slot,
        }
    }

    /// Whether it asks how many flows backends have.
    #[inline(always)]
    #[must_use]
    pub const fn counts_flows(self) -> bool {
        matches!(self, Self::TwoChoices | Self::LeastFlows | Self::LeastTime)
    }

    /// Whether it looks at all backends of a list.
    #[inline(always)]
    #[must_use]
    pub const fn compares(self) -> bool {
        matches!(self, Self::LeastFlows | Self::LeastTime)
    }
}

/// The prefix of a client as a key of `SOURCE_RULES`: policy, then address, IPv4 ones under their
/// mapped prefix (RFC 4291 section 2.5.5.2). The value is 1 for sources that are allowed, 0 for
/// those that are denied; the longest prefix counts.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePrefix {
    /// Index of the policy.
    pub policy: u32,
    /// See [`crate::Address::mapped`].
    pub address: [u64; 2],
}

impl RulePrefix {
    /// Length of a whole key in bits.
    pub const BITS: u32 = 160;
    /// Bits before those of the address.
    pub const POLICY_BITS: u32 = 32;
}

/// A server's identifier as a key of `SERVERS`; the value is the backend's index.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerKey {
    /// The identifier's bytes as a big-endian number.
    pub id: u64,
    /// Index of the policy.
    pub policy: u32,
    /// Length of the identifier in bytes.
    pub length: u32,
}
