//! The arrays that the daemon and packets share.

use std::io;

use lb_common::{
    Backend, FlowSet, Policy, SLOTS_PER_LINE, Service, Settings, SlotLine,
    bucket::{Bucket, SourceBuckets},
    load::{Load, Rotation},
    ranges::RangeLine,
};

use super::{
    keyed::{Keyed, Prefixes, Servers, SourceRules},
    mapped::Mapped,
};
use crate::config::Limits;

/// The arrays that the writer fills, and the maps with keys.
#[derive(Debug)]
pub struct Arrays {
    /// One value.
    pub settings: Mapped<Settings>,
    /// A power of two of places.
    pub services: Mapped<Service>,
    /// Lines of sixteen slots.
    pub slots: Mapped<SlotLine>,
    /// By index; 0 is unused.
    pub backends: Mapped<Backend>,
    /// A power of two of sets.
    pub flows: Mapped<FlowSet>,
    /// By index of the backend.
    pub loads: Mapped<Load>,
    /// By index of the policy.
    pub rotations: Mapped<Rotation>,
    /// By index; 0 asks for nothing.
    pub policies: Mapped<Policy>,
    /// Port ranges by line; 0 is none.
    pub ranges: Mapped<RangeLine>,
    /// A power of two of sets.
    pub fragments: Mapped<FlowSet>,
    /// By index of the policy.
    pub buckets: Mapped<Bucket>,
    /// A power of two of sets.
    pub source_buckets: Mapped<SourceBuckets>,
    /// Which sources policies allow and deny.
    pub source_rules: SourceRules,
    /// Prefixes of addresses that have services.
    pub prefixes: Prefixes,
    /// Backends by server identifier.
    pub servers: Servers,
}

/// Lengths of the arrays for the configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Places of `SERVICES`: sixteen for each service. A service that has an address to itself takes
    /// three, two of them for what is known of the address for its protocol and for echo requests;
    /// and at three eighths full one secret in thirty has addresses in a row that do not fit, at
    /// three sixteenths one in a thousand.
    pub services: u32,
    /// Lines of `SLOTS`.
    pub slots: u32,
    /// Entries of `BACKENDS`, with the unused first.
    pub backends: u32,
    /// Sets of `FLOWS`.
    pub flows: u32,
    /// Entries of `POLICIES` and `BUCKETS`: two for each service, since a new policy stands beside
    /// the old one for a while.
    pub policies: u32,
    /// Lines of `RANGES`, likewise.
    pub ranges: u32,
    /// Sets of `FRAGMENTS`.
    pub fragments: u32,
    /// Sets of `SOURCE_BUCKETS`.
    pub sources: u32,
    /// Entries of `SOURCE_RULES`.
    pub rules: u32,
    /// Entries of `PREFIXES`.
    pub prefixes: u32,
    /// Entries of `SERVERS`: each backend under an old and a new policy.
    pub servers: u32,
    /// Entries of `TRANSLATIONS`, two a flow.
    pub translations: u32,
}

/// Datagrams in fragments that are on their way at a time.
const FRAGMENTED: u32 = 8192;
/// Rules for sources, those of all services together.
pub const RULES: u32 = 1 << 16;

impl From<&Limits> for Lengths {
    fn from(limits: &Limits) -> Self {
        Self {
            services: (limits.services * 16).next_power_of_two(),
            slots: limits.slots.div_ceil(SLOTS_PER_LINE),
            backends: limits.backends + 1,
            flows: limits.flows.div_ceil(FlowSet::FLOWS).next_power_of_two(),
            policies: limits.services * 2 + 1,
            ranges: limits.services * 2 + 1,
            fragments: FRAGMENTED / FlowSet::FLOWS,
            sources: limits.sources.div_ceil(SourceBuckets::SOURCES).next_power_of_two(),
            rules: RULES,
            prefixes: limits.services,
            servers: limits.backends * 2,
            translations: limits.nat_flows * 2,
        }
    }
}

impl Arrays {
    /// Memory that no kernel reads, for tests and questions.
    pub fn anonymous(lengths: &Lengths) -> io::Result<Self> {
        Ok(Self {
            settings: Mapped::anonymous(1)?,
            services: Mapped::anonymous(lengths.services as usize)?,
            slots: Mapped::anonymous(lengths.slots as usize)?,
            backends: Mapped::anonymous(lengths.backends as usize)?,
            flows: Mapped::anonymous(lengths.flows as usize)?,
            loads: Mapped::anonymous(lengths.backends as usize)?,
            rotations: Mapped::anonymous(lengths.policies as usize)?,
            policies: Mapped::anonymous(lengths.policies as usize)?,
            ranges: Mapped::anonymous(lengths.ranges as usize)?,
            fragments: Mapped::anonymous(lengths.fragments as usize)?,
            buckets: Mapped::anonymous(lengths.policies as usize)?,
            source_buckets: Mapped::anonymous(lengths.sources as usize)?,
            source_rules: Keyed::anonymous(lengths.rules),
            prefixes: Keyed::anonymous(lengths.prefixes),
            servers: Keyed::anonymous(lengths.servers),
        })
    }
}
