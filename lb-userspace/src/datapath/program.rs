//! Loading an object with the balancer's maps, over new maps or pinned ones.

use std::{
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    maps::{Map, MapData, MapError, MapInfo, lpm_trie::Key},
};
use lb_common::{
    Backend, Counters, FlowSet, Policy, Service, Settings, SlotLine, Verdict,
    bucket::{Bucket, SourceBuckets},
    flow::{FlowCounters, InsertBudget},
    layout::Layout,
    load::{Load, Rotation},
    nat::{Translation, Tuple},
    policy::{RulePrefix, ServerKey},
    ranges::RangeLine,
    service::{MappedAddress, Prefix},
    signals::Signals,
};

use super::{
    arrays::{Arrays, Lengths},
    counters::TrafficCounters,
    keyed::{KernelMap, Keyed, PrefixesMap, RulesMap, ServersMap},
    map_memory::{self, MapMemory, mebibytes},
    mapped::{Mapped, Value},
};
use crate::config::Limits;

/// Maps that packets and daemon share, in the order of their files in `lb-ebpf`.
pub const MAPS: [&str; 24] = [
    "LAYOUT",
    "SETTINGS",
    "SERVICES",
    "SLOTS",
    "BACKENDS",
    "FLOWS",
    "INSERT_BUDGET",
    "REPLY_BUDGET",
    "FLOW_COUNTERS",
    "LOADS",
    "ROTATIONS",
    "POLICIES",
    "RANGES",
    "FRAGMENTS",
    "BUCKETS",
    "SOURCE_BUCKETS",
    "SOURCE_RULES",
    "PREFIXES",
    "SERVERS",
    "TRANSLATIONS",
    "SERVICE_COUNTERS",
    "BACKEND_COUNTERS",
    "SIGNALS",
    "VERDICTS",
];

/// Why an object cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refused maps or object.
    #[error("the kernel refused the XDP program: {0}")]
    Refused(#[from] Box<EbpfError>),
    /// A map cannot be made.
    #[error(
        "map {name} cannot be made: it needs {}, all maps together {}: {source}: {}let lbd have \
         more memory (its cgroup, the machine)",
        mebibytes(*.bytes), mebibytes(*.all), lower(*.setting)
    )]
    NoMemory {
        /// Its name.
        name: &'static str,
        /// Bytes that it needs.
        bytes: u64,
        /// Bytes that all maps need.
        all: u64,
        /// What makes it smaller.
        setting: Option<&'static str>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel's verifier refused the program.
    #[error("the kernel refused the XDP program: {0}")]
    Unverified(#[from] Box<aya::programs::ProgramError>),
    /// A map is not there or not what it should be.
    #[error("map {0} is missing from the object: this build of lb is broken")]
    Missing(&'static str),
    /// A map cannot be used.
    #[error("map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        source: MapError,
    },
    /// A map's memory cannot be shared.
    #[error("map {name} cannot be mapped into memory: {source}")]
    Memory {
        /// Its name.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// An object in the kernel and its maps in our memory.
pub struct Loaded {
    /// The object, with programs that are not loaded yet.
    pub ebpf: Ebpf,
    /// The arrays that the daemon writes.
    pub arrays: Arrays,
    /// What lies where in them.
    pub layout: Mapped<Layout>,
    /// The counters that it reads.
    pub counters: TrafficCounters,
    /// Memory of all maps in bytes, as the kernel accounts it.
    pub map_bytes: u64,
}

/// Loads `object` with maps for `limits`. With `pins`, maps that are pinned there are used again,
/// and others are pinned there; see [`are_compatible`].
pub fn load(object: &[u8], limits: &Limits, pins: Option<&Path>) -> Result<Loaded, LoadError> {
    let lengths = Lengths::from(limits);
    let shapes = shapes(limits);
    let paths: Vec<(&str, PathBuf)> =
        pins.iter().flat_map(|pins| MAPS.map(|name| (name, pins.join(name)))).collect();
    let mut loader = EbpfLoader::new();
    // Only the counts of the log are of interest; a refusal brings its own.
    loader.verifier_log_level(VerifierLogLevel::STATS);
    for shape in &shapes {
        loader.map_max_entries(shape.name, shape.entries);
    }
    for (name, path) in &paths {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader.load(object).map_err(|error| refused(error, limits))?;
    let sizes = MAPS.iter().filter_map(|name| Some((name, memory(ebpf.map(name)?))));
    let map_bytes = sizes
        .inspect(|(map, bytes)| tracing::debug!(map, bytes, "memory"))
        .map(|(_, bytes)| bytes)
        .sum();
    let arrays = arrays(&ebpf, &lengths)?;
    let layout = mapped(&ebpf, "LAYOUT", 1)?;
    let counters = TrafficCounters::take(&mut ebpf)?;
    Ok(Loaded { ebpf, arrays, layout, counters, map_bytes })
}

/// What the writer fills of an object that is loaded.
pub fn arrays(ebpf: &Ebpf, lengths: &Lengths) -> Result<Arrays, LoadError> {
    Ok(Arrays {
        settings: mapped(ebpf, "SETTINGS", 1)?,
        services: mapped(ebpf, "SERVICES", lengths.services)?,
        slots: mapped(ebpf, "SLOTS", lengths.slots)?,
        backends: mapped(ebpf, "BACKENDS", lengths.backends)?,
        flows: mapped(ebpf, "FLOWS", lengths.flows)?,
        loads: mapped(ebpf, "LOADS", lengths.backends)?,
        rotations: mapped(ebpf, "ROTATIONS", lengths.policies)?,
        policies: mapped(ebpf, "POLICIES", lengths.policies)?,
        ranges: mapped(ebpf, "RANGES", lengths.ranges)?,
        fragments: mapped(ebpf, "FRAGMENTS", lengths.fragments)?,
        buckets: mapped(ebpf, "BUCKETS", lengths.policies)?,
        source_buckets: mapped(ebpf, "SOURCE_BUCKETS", lengths.sources)?,
        source_rules: keyed(ebpf, "SOURCE_RULES", lengths.rules, RulesMap::new)?,
        prefixes: keyed(ebpf, "PREFIXES", lengths.prefixes, PrefixesMap::new)?,
        servers: keyed(ebpf, "SERVERS", lengths.servers, ServersMap::new)?,
    })
}

/// Whether the maps pinned in `pins` are all there, of the present layout, and as long as `limits`
/// asks. aya uses a pinned map again without a look at either.
#[must_use]
pub fn are_compatible(pins: &Path, limits: &Limits) -> bool {
    shapes(limits).iter().all(|shape| {
        MapInfo::from_pin(pins.join(shape.name)).is_ok_and(|info| {
            info.max_entries() == shape.entries
                && info.value_size() as usize == shape.value
                && info.key_size() as usize == shape.key
        })
    })
}

/// Which kind of map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Values by index, shared with the daemon's memory.
    Array,
    /// Values by index, for each processor its own.
    PerCpuArray,
    /// Values by key.
    Hash,
    /// Values by prefix.
    Prefixes,
}

/// What a map is to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Its name.
    pub(super) name: &'static str,
    /// How many values it holds.
    pub(super) entries: u32,
    /// Bytes of a key.
    pub(super) key: usize,
    /// Bytes of a value.
    pub(super) value: usize,
    /// Its kind.
    pub(super) kind: Kind,
}

/// The shapes of all maps.
pub(super) fn shapes(limits: &Limits) -> [Shape; MAPS.len()] {
    values(&Lengths::from(limits), limits).map(|(name, entries, value)| Shape {
        name,
        entries,
        key: key_size(name),
        value,
        kind: kind(name),
    })
}

fn kind(name: &str) -> Kind {
    match name {
        "INSERT_BUDGET" | "REPLY_BUDGET" | "FLOW_COUNTERS" | "SERVICE_COUNTERS"
        | "BACKEND_COUNTERS" | "SIGNALS" | "VERDICTS" => Kind::PerCpuArray,
        "SERVERS" | "TRANSLATIONS" => Kind::Hash,
        "SOURCE_RULES" | "PREFIXES" => Kind::Prefixes,
        _ => Kind::Array,
    }
}

/// A refusal in words about the map that it is about.
fn refused(error: EbpfError, limits: &Limits) -> LoadError {
    let EbpfError::MapError(MapError::CreateError { name, io_error: source }) = error else {
        return LoadError::Refused(Box::new(error));
    };
    let maps = map_memory::planned(limits);
    let all = map_memory::sum(&maps);
    match maps.into_iter().find(|map| map.name == name) {
        Some(MapMemory { name, bytes, setting }) => {
            LoadError::NoMemory { name, bytes, all, setting, source }
        }
        None => {
            LoadError::Refused(Box::new(MapError::CreateError { name, io_error: source }.into()))
        }
    }
}

fn lower(setting: Option<&str>) -> String {
    setting.map_or_else(String::new, |setting| format!("lower {setting}, or "))
}

/// Size of a map's keys; arrays have indices.
fn key_size(name: &str) -> usize {
    match name {
        "SOURCE_RULES" => size_of::<Key<RulePrefix>>(),
        "PREFIXES" => size_of::<Key<MappedAddress>>(),
        "SERVERS" => size_of::<ServerKey>(),
        "TRANSLATIONS" => size_of::<Tuple>(),
        _ => size_of::<u32>(),
    }
}

/// Name, number of entries and size of a value of each map.
fn values(lengths: &Lengths, limits: &Limits) -> [(&'static str, u32, usize); MAPS.len()] {
    [
        ("LAYOUT", 1, size_of::<Layout>()),
        ("SETTINGS", 1, size_of::<Settings>()),
        ("SERVICES", lengths.services, size_of::<Service>()),
        ("SLOTS", lengths.slots, size_of::<SlotLine>()),
        ("BACKENDS", lengths.backends, size_of::<Backend>()),
        ("FLOWS", lengths.flows, size_of::<FlowSet>()),
        ("INSERT_BUDGET", 1, size_of::<InsertBudget>()),
        ("REPLY_BUDGET", 1, size_of::<InsertBudget>()),
        ("FLOW_COUNTERS", 1, size_of::<FlowCounters>()),
        ("LOADS", lengths.backends, size_of::<Load>()),
        ("ROTATIONS", lengths.policies, size_of::<Rotation>()),
        ("POLICIES", lengths.policies, size_of::<Policy>()),
        ("RANGES", lengths.ranges, size_of::<RangeLine>()),
        ("FRAGMENTS", lengths.fragments, size_of::<FlowSet>()),
        ("BUCKETS", lengths.policies, size_of::<Bucket>()),
        ("SOURCE_BUCKETS", lengths.sources, size_of::<SourceBuckets>()),
        ("SOURCE_RULES", lengths.rules, size_of::<u32>()),
        ("PREFIXES", lengths.prefixes, size_of::<Prefix>()),
        ("SERVERS", lengths.servers, size_of::<u32>()),
        ("TRANSLATIONS", lengths.translations, size_of::<Translation>()),
        ("SERVICE_COUNTERS", limits.services, size_of::<Counters>()),
        ("BACKEND_COUNTERS", lengths.backends, size_of::<Counters>()),
        ("SIGNALS", lengths.backends, size_of::<Signals>()),
        ("VERDICTS", Verdict::COUNT as u32, size_of::<u64>()),
    ]
}

/// The flow cache once more, for who fills it beside the tables.
pub(super) fn flows(ebpf: &Ebpf, limits: &Limits) -> Result<Mapped<FlowSet>, LoadError> {
    mapped(ebpf, "FLOWS", Lengths::from(limits).flows)
}

fn mapped<T: Value>(ebpf: &Ebpf, name: &'static str, len: u32) -> Result<Mapped<T>, LoadError> {
    let Some(Map::Array(map)) = ebpf.map(name) else {
        return Err(LoadError::Missing(name));
    };
    Mapped::of_map(map.fd().as_fd(), len as usize)
        .map_err(|source| LoadError::Memory { name, source })
}

fn keyed<K, V, M>(
    ebpf: &Ebpf,
    name: &'static str,
    most: u32,
    open: impl FnOnce(MapData) -> Result<M, MapError>,
) -> Result<Keyed<K, V>, LoadError>
where
    K: Ord + Copy,
    V: PartialEq + Copy,
    M: KernelMap<K, V> + 'static,
{
    let Some(Map::HashMap(map) | Map::LpmTrie(map)) = ebpf.map(name) else {
        return Err(LoadError::Missing(name));
    };
    let descriptor = map.fd().as_fd().try_clone_to_owned();
    let descriptor = descriptor.map_err(|source| LoadError::Memory { name, source })?;
    MapData::from_fd(descriptor)
        .and_then(open)
        .and_then(|map| Keyed::of_map(map, most))
        .map_err(|source| LoadError::Map { name, source })
}

/// `memlock` of the map's fdinfo: what the kernel accounts, with its own rounding.
fn memory(map: &Map) -> u64 {
    let data = match map {
        Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::LpmTrie(data) => data,
        _ => return 0,
    };
    let path = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&data.fd().as_fd()));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
        .unwrap_or_default()
}
