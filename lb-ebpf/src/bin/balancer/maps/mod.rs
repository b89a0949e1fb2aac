//! One file a map, each named as its map and as its handle in the daemon.
//!
//! The lengths here are the least; the loader sets the configured ones.

mod backend_counters;
mod backends;
mod flows;
mod insert_budget;
mod service_counters;
mod services;
mod settings;
mod slots;
mod verdicts;

pub(crate) use backend_counters::BACKEND_COUNTERS;
pub(crate) use backends::BACKENDS;
pub(crate) use flows::FLOWS;
pub(crate) use insert_budget::INSERT_BUDGET;
pub(crate) use service_counters::SERVICE_COUNTERS;
pub(crate) use services::SERVICES;
pub(crate) use settings::SETTINGS;
pub(crate) use slots::SLOTS;
pub(crate) use verdicts::VERDICTS;

/// The daemon writes such an array through `mmap`: 5 us for 65,536 slots, where single updates
/// take 70 ms.
const MMAPABLE: usize = aya_ebpf::bindings::BPF_F_MMAPABLE as usize;
