//! Reading the per-CPU counters.

use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuValues},
};
use lb_common::{Counters, Verdict, flow::FlowCounters};

use super::{program::LoadError, rows::Rows, signals::Signals};

/// [`Counters`] as aya moves them.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default)]
struct Value(Counters);

// SAFETY: three numbers without padding.
unsafe impl aya::Pod for Value {}

/// What a CPU counts of the flow cache, in the order of [`FlowCounters`].
type FlowCounts = [u64; 4];

const _: () = assert!(size_of::<FlowCounts>() == size_of::<FlowCounters>());

/// How the flow cache has done since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCacheCounts {
    /// Packets whose flow was remembered.
    pub hits: u64,
    /// Flows that got a place.
    pub inserts: u64,
    /// Those of them that got the place of a flow that had been silent for too long.
    pub evictions: u64,
    /// Flows that got none.
    pub refusals: u64,
}

/// The counters of services, backends and verdicts, and of the flow cache.
pub struct TrafficCounters {
    services: PerCpuArray<MapData, Value>,
    backends: Rows<3>,
    verdicts: PerCpuArray<MapData, u64>,
    flows: PerCpuArray<MapData, FlowCounts>,
    signals: Rows<6>,
}

impl TrafficCounters {
    /// Takes the counter maps out of an object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            services: take(ebpf, "SERVICE_COUNTERS")?,
            backends: Rows::of(ebpf, "BACKEND_COUNTERS")?,
            verdicts: take(ebpf, "VERDICTS")?,
            flows: take(ebpf, "FLOW_COUNTERS")?,
            signals: Rows::of(ebpf, "SIGNALS")?,
        })
    }

    /// Traffic of a service since it got this identifier.
    pub fn service(&self, id: u32) -> Result<Counters, MapError> {
        total(&self.services.get(&id, 0)?)
    }

    /// Traffic of a backend since it got this index.
    pub fn backend(&self, index: u16) -> Result<Counters, MapError> {
        self.backends.get(index).map(counters).map_err(MapError::IoError)
    }

    /// The same of all backends, by their index: for thousands of them once a second.
    pub fn all_backends(&self) -> Result<Vec<Counters>, MapError> {
        let rows = self.backends.all().map_err(MapError::IoError)?;
        Ok(rows.into_iter().map(counters).collect())
    }

    /// What packets have told of a backend's health since it got this index.
    pub fn signals(&self, index: u16) -> Result<Signals, MapError> {
        self.signals.get(index).map(Signals::from).map_err(MapError::IoError)
    }

    /// The same of all backends, by their index: for thousands of them once a second.
    pub fn all_signals(&self) -> Result<Vec<Signals>, MapError> {
        let rows = self.signals.all().map_err(MapError::IoError)?;
        Ok(rows.into_iter().map(Signals::from).collect())
    }

    /// Packets by verdict since the maps were made, in the order of [`Verdict::ALL`].
    pub fn verdicts(&self) -> Result<Vec<(Verdict, u64)>, MapError> {
        let count = |verdict: &Verdict| {
            let values = self.verdicts.get(&(*verdict as u32), 0)?;
            Ok((*verdict, values.iter().sum()))
        };
        Verdict::ALL.iter().map(count).collect()
    }

    /// How the flow cache does.
    pub fn flow_cache(&self) -> Result<FlowCacheCounts, MapError> {
        let mut sum = FlowCacheCounts::default();
        for [hits, inserts, evictions, refusals] in self.flows.get(&0, 0)?.iter() {
            sum.hits += hits;
            sum.inserts += inserts;
            sum.evictions += evictions;
            sum.refusals += refusals;
        }
        Ok(sum)
    }

    /// Starts a service's counters anew.
    pub fn clear_service(&mut self, id: u32) -> Result<(), MapError> {
        self.services.set(id, zeros()?, 0)
    }

    /// Starts a backend's counters anew.
    pub fn clear_backend(&mut self, index: u16) -> Result<(), MapError> {
        self.backends.clear(index).map_err(MapError::IoError)?;
        self.signals.clear(index).map_err(MapError::IoError)
    }
}

fn take<V: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<PerCpuArray<MapData, V>, LoadError> {
    let map: Map = ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    PerCpuArray::try_from(map).map_err(|source| LoadError::Map { name, source })
}

fn total(values: &PerCpuValues<Value>) -> Result<Counters, MapError> {
    Ok(values.iter().map(|value| value.0).sum())
}

/// [`Counters`] out of their numbers, in their order.
const fn counters([packets, bytes, new_flows]: [u64; 3]) -> Counters {
    Counters { packets, bytes, new_flows }
}

const _: () = assert!(size_of::<Counters>() == size_of::<[u64; 3]>());

fn zeros() -> Result<PerCpuValues<Value>, MapError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, source)| MapError::IoError(source))?;
    PerCpuValues::try_from(vec![Value::default(); cpus]).map_err(MapError::IoError)
}
