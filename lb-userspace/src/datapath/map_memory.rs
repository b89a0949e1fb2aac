//! How much memory maps take, known before they are made.

use crate::config::Limits;

use super::program::{self, Kind, Shape};

/// The memory of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// The map.
    pub name: &'static str,
    /// Bytes that it takes once it is made.
    pub bytes: u64,
    /// What makes it smaller, if anything does.
    pub setting: Option<&'static str>,
}

/// The memory that maps for these limits will take, in their order. Those of prefixes grow with what
/// is entered, which is little, and begin with nothing.
#[must_use]
pub fn planned(limits: &Limits) -> Vec<MapMemory> {
    let processors = aya::util::nr_cpus().unwrap_or(1) as u64;
    let memory = |shape: &Shape| MapMemory {
        name: shape.name,
        bytes: bytes(shape, processors),
        setting: setting(shape.name),
    };
    program::shapes(limits).iter().map(memory).collect()
}

/// The sum of all.
#[must_use]
pub fn sum(maps: &[MapMemory]) -> u64 {
    maps.iter().map(|map| map.bytes).sum()
}

/// What the kernel takes for a map, as `map_mem_usage` of its kinds has it in Linux 6.4 and later.
fn bytes(shape: &Shape, processors: u64) -> u64 {
    const PAGE: u64 = 4096;
    /// What the kernel keeps beside an entry of a hash map: `struct htab_elem`.
    const ENTRY: u64 = 48;
    const BUCKET: u64 = 16;

    let entries = u64::from(shape.entries);
    let [key, value] = [shape.key, shape.value].map(|size| (size as u64).next_multiple_of(8));
    match shape.kind {
        // A page for what the kernel keeps, so that the values begin at one.
        Kind::Array => PAGE + (entries * value).next_multiple_of(PAGE),
        Kind::PerCpuArray => entries * (8 + value * processors),
        // One entry more a processor, so that an update never waits for memory.
        Kind::Hash => {
            entries.next_power_of_two() * BUCKET + (entries + processors) * (ENTRY + key + value)
        }
        Kind::Prefixes => 0,
    }
}

/// The key of `[daemon]` that a map's length follows from.
fn setting(map: &str) -> Option<&'static str> {
    match map {
        "SERVICES" | "POLICIES" | "ROTATIONS" | "RANGES" | "BUCKETS" | "SERVICE_COUNTERS"
        | "PREFIXES" => Some("daemon.max_services"),
        "SLOTS" => Some("daemon.max_slots"),
        "BACKENDS" | "BACKEND_COUNTERS" | "SIGNALS" | "SERVERS" | "LOADS" => {
            Some("daemon.max_backends")
        }
        "FLOWS" => Some("daemon.max_flows"),
        "TRANSLATIONS" => Some("daemon.max_nat_flows"),
        "SOURCE_BUCKETS" => Some("daemon.max_sources"),
        _ => None,
    }
}

/// Bytes as people read them.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_from_the_limits() {
        let map = |limits: &Limits, name| {
            let maps = planned(limits);
            maps.into_iter().find(|map| map.name == name).expect("a map")
        };
        let limits = Limits::default();
        assert_eq!(map(&limits, "FLOWS").bytes, 4096 + 16 * u64::from(limits.flows));
        assert_eq!(map(&limits, "SLOTS").bytes, 4096 + 4 * u64::from(limits.slots));
        let twice = Limits { flows: 2 * limits.flows, ..limits };
        let more = sum(&planned(&twice)) - sum(&planned(&limits));
        assert_eq!(more, 16 * u64::from(limits.flows));
        assert_eq!(map(&limits, "TRANSLATIONS").setting, Some("daemon.max_nat_flows"));
    }

    #[test]
    fn every_map_that_grows_with_a_limit_says_so() {
        let small = Limits::default();
        let large = Limits {
            services: 2 * small.services,
            backends: 2 * small.backends,
            slots: 2 * small.slots,
            flows: 2 * small.flows,
            nat_flows: 2 * small.nat_flows,
            sources: 2 * small.sources,
        };
        for (small, large) in planned(&small).into_iter().zip(planned(&large)) {
            assert_eq!(
                small.bytes < large.bytes,
                small.setting.is_some() && small.bytes > 0,
                "{small:?}"
            );
        }
    }
}
