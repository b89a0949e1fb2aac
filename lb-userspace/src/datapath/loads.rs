//! `LOADS`: flows of backends, counted anew from what is remembered.

use std::os::fd::AsFd as _;

use aya::{Ebpf, maps::Map};
use lb_common::{
    Backend, FlowSet,
    flow::{self, Phase, Remembered},
    load::Load,
};

use super::{
    mapped::{Mapped, Value},
    program::LoadError,
};

/// A backend whose flows are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its index.
    pub backend: u16,
    /// Ticks of the flow cache after which a silent flow of its is taken to be over.
    pub idle: u16,
}

/// A walk over the flow cache, with memory of its own: it goes on while the daemon changes tables.
#[derive(Debug)]
pub struct FlowCount {
    flows: Mapped<FlowSet>,
    backends: Mapped<Backend>,
    loads: Mapped<Load>,
    recount: Recount,
}

impl FlowCount {
    /// Over the maps of a loaded object.
    pub fn of(ebpf: &Ebpf) -> Result<Self, LoadError> {
        Ok(Self {
            flows: mapped(ebpf, "FLOWS")?,
            backends: mapped(ebpf, "BACKENDS")?,
            loads: mapped(ebpf, "LOADS")?,
            recount: Recount::default(),
        })
    }

    /// Counts the flows of the backends that are asked for, as of the tick `now`. Returns how many
    /// places of the cache are taken, by whomever.
    pub fn pass(&mut self, asked: &[Asked], now: u16) -> u64 {
        let mut idle = vec![None; self.backends.len()];
        for one in asked {
            idle[usize::from(one.backend)] = Some(one.idle);
        }
        self.recount.begin(&self.loads);
        let mut taken = 0;
        for (_, flow) in self.flows.iter().flat_map(FlowSet::iter) {
            taken += 1;
            let backend = usize::from(flow.backend);
            let Some(Some(idle)) = idle.get(backend) else { continue };
            let is_its = self.backends[backend].generation() == flow.generation;
            if is_its && is_in_progress(&flow, now, *idle) {
                self.recount.add(flow.backend);
            }
        }
        for one in asked {
            self.recount.settle(&self.loads, one.backend);
        }
        taken
    }
}

/// Whether a flow counts as one that its backend has.
fn is_in_progress(flow: &Remembered, now: u16, idle: u16) -> bool {
    let silent = u32::from(flow::idle(now, flow.seen));
    match flow.phase {
        // Nobody has answered yet: it may be one that somebody made up.
        Phase::Opening => silent <= flow.phase.kept(),
        Phase::Open => silent <= u32::from(idle),
        Phase::Closing | Phase::Doubtful => false,
    }
}

/// A count of translated flows beside the sweep over these.
#[derive(Debug)]
pub struct TranslatedCount {
    backends: Mapped<Backend>,
    loads: Mapped<Load>,
    recount: Recount,
}

impl TranslatedCount {
    /// Over the maps of a loaded object.
    pub fn of(ebpf: &Ebpf) -> Result<Self, LoadError> {
        let (backends, loads) = (mapped(ebpf, "BACKENDS")?, mapped(ebpf, "LOADS")?);
        Ok(Self { backends, loads, recount: Recount::default() })
    }

    /// The walk over all begins.
    pub fn begin(&mut self) {
        self.recount.begin(&self.loads);
    }

    /// A flow that counts as its backend's.
    pub fn add(&mut self, backend: u16, generation: u16) {
        let entry = self.backends.get(usize::from(backend));
        if entry.is_some_and(|entry| entry.generation() == generation) {
            self.recount.add(backend);
        }
    }

    /// All were looked at.
    pub fn end(&mut self) {
        for (index, backend) in self.backends.iter().enumerate() {
            if backend.forward() == Some(lb_common::Forward::Nat) {
                self.recount.settle(&self.loads, index as u16);
            }
        }
    }
}

/// A count that takes its time, while packets count what begins and ends.
#[derive(Debug, Default)]
struct Recount {
    before: Vec<u32>,
    counted: Vec<u32>,
}

impl Recount {
    fn begin(&mut self, loads: &[Load]) {
        self.before = loads.iter().map(Load::flows).collect();
        self.counted = vec![0; loads.len()];
    }

    fn add(&mut self, backend: u16) {
        if let Some(counted) = self.counted.get_mut(usize::from(backend)) {
            *counted += 1;
        }
    }

    fn settle(&self, loads: &[Load], backend: u16) {
        let index = usize::from(backend);
        // A walk that has not begun has counted nothing.
        let (Some(load), Some(before), Some(counted)) =
            (loads.get(index), self.before.get(index), self.counted.get(index))
        else {
            return;
        };
        let now = load.flows();
        let settled = settled(*before, *counted, now);
        if settled != now {
            load.set_flows(settled);
        }
    }
}

/// Flows after a count. Of those that began or ended meanwhile it has seen about half: those whose
/// place it came to later.
fn settled(before: u32, counted: u32, now: u32) -> u32 {
    let meanwhile = i64::from(now) - i64::from(before);
    (i64::from(counted) + meanwhile / 2).clamp(0, i64::from(u32::MAX)) as u32
}

fn mapped<T: Value>(ebpf: &Ebpf, name: &'static str) -> Result<Mapped<T>, LoadError> {
    let Some(Map::Array(map)) = ebpf.map(name) else {
        return Err(LoadError::Missing(name));
    };
    let info = map.info().map_err(|source| LoadError::Map { name, source })?;
    Mapped::of_map(map.fd().as_fd(), info.max_entries() as usize)
        .map_err(|source| LoadError::Memory { name, source })
}

#[cfg(test)]
mod tests {
    use lb_common::{Address, Forward};

    use super::*;

    const NOW: u16 = 1000;

    /// Two backends, of which flows are remembered in a cache of one set each.
    fn count(flows: &[Remembered]) -> FlowCount {
        let mut backends = Mapped::anonymous(3).expect("memory");
        let address = Address::from(std::net::IpAddr::from([10, 0, 0, 1]));
        for index in 1..3 {
            backends.replace(index, Backend::new(0, 7, Forward::L2, address, address));
        }
        let cache: Mapped<FlowSet> = Mapped::anonymous(64).expect("memory");
        for (number, flow) in flows.iter().enumerate() {
            assert!(cache[number].put(number as u64, *flow).is_done());
        }
        let loads = Mapped::anonymous(3).expect("memory");
        FlowCount { flows: cache, backends, loads, recount: Recount::default() }
    }

    fn flow(backend: u16, silent: u16, phase: Phase) -> Remembered {
        Remembered { backend, generation: 7, seen: NOW.wrapping_sub(silent), phase }
    }

    const ASKED: [Asked; 1] = [Asked { backend: 1, idle: 300 }];

    #[test]
    fn flows_in_progress_are_counted() {
        let mut count = count(&[
            flow(1, 0, Phase::Open),
            flow(1, 300, Phase::Open),
            flow(1, 301, Phase::Open),
            flow(1, 10, Phase::Opening),
            flow(1, 11, Phase::Opening),
            flow(1, 0, Phase::Closing),
            flow(1, 0, Phase::Doubtful),
            Remembered { generation: 6, ..flow(1, 0, Phase::Open) },
            flow(2, 0, Phase::Open),
        ]);
        count.loads[1].set_flows(99);
        count.loads[2].set_flows(5);
        assert_eq!(count.pass(&ASKED, NOW), 9);
        assert_eq!(count.loads[1].flows(), 3);
        assert_eq!(count.loads[2].flows(), 5, "nobody asked");
    }

    #[test]
    fn what_packets_counted_meanwhile_is_half_seen() {
        for (before, counted, now, expected) in
            [(10, 7, 10, 7), (10, 15, 20, 20), (20, 15, 10, 10), (5, 0, 0, 0), (0, 0, 1, 0)]
        {
            assert_eq!(settled(before, counted, now), expected);
        }
    }

    #[test]
    fn a_walk_that_has_not_begun_settles_nothing() {
        let loads = [Load::default(), Load::default()];
        loads[1].set_flows(4);
        Recount::default().settle(&loads, 1);
        assert_eq!(loads[1].flows(), 4);
    }
}
