//! One file a map, each named as its map and as its handle in the daemon.
//!
//! The lengths here are the least; the loader sets the configured ones.

mod backend_counters;
mod backends;
mod buckets;
mod flow_counters;
mod flows;
mod fragments;
mod insert_budget;
mod layout;
mod loads;
mod policies;
mod prefixes;
mod ranges;
mod reply_budget;
mod rotations;
mod servers;
mod service_counters;
mod services;
mod settings;
mod signals;
mod slots;
mod source_buckets;
mod source_rules;
mod translations;
mod verdicts;
mod work;

pub(crate) use backend_counters::BACKEND_COUNTERS;
pub(crate) use backends::BACKENDS;
pub(crate) use buckets::BUCKETS;
pub(crate) use flow_counters::FLOW_COUNTERS;
pub(crate) use flows::FLOWS;
pub(crate) use fragments::FRAGMENTS;
pub(crate) use insert_budget::INSERT_BUDGET;
pub(crate) use loads::LOADS;
pub(crate) use policies::POLICIES;
pub(crate) use prefixes::{PREFIXES, PrefixKey};
pub(crate) use ranges::RANGES;
pub(crate) use reply_budget::REPLY_BUDGET;
pub(crate) use rotations::ROTATIONS;
pub(crate) use servers::SERVERS;
pub(crate) use service_counters::SERVICE_COUNTERS;
pub(crate) use services::SERVICES;
pub(crate) use settings::SETTINGS;
pub(crate) use signals::SIGNALS;
pub(crate) use slots::SLOTS;
pub(crate) use source_buckets::SOURCE_BUCKETS;
pub(crate) use source_rules::{RuleKey, SOURCE_RULES};
pub(crate) use translations::TRANSLATIONS;
pub(crate) use verdicts::VERDICTS;
pub(crate) use work::WORK;

/// The daemon writes such an array through `mmap`: 5 us for 65,536 slots, where single updates
/// take 70 ms.
const MMAPABLE: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;
