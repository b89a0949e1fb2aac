//! The balancer twice: its program in the kernel and its source on the host, over the same tables.

use std::{cell::Cell, collections::BTreeMap, marker::PhantomData};

use anyhow::{Context as _, ensure};
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use lb_common::{
    Counters, FlowSet, HashKey, Settings, Verdict,
    flow::{FlowCounters, Remembered},
    host::HostFrame,
    nat::{Translation, Tuple},
};
use lb_userspace::{
    config::Limits,
    datapath::{
        Mapped,
        arrays::{Arrays, Lengths},
        counters::{FlowCacheCounts, TrafficCounters},
        program::{self, Loaded},
        signals::Signals,
        tables::Tables,
        translations::Translations,
    },
    objects,
};

use super::{
    arrays::{emptied, mapped},
    beside::{Beside, Changing},
    outcome::{Outcome, Pair},
    program::{Program, stay_on_this_cpu},
};

/// Room for some dozens of services, and a flow cache so small that flows push each other out. Not
/// so the sources' buckets: which of them makes room depends on the time, which the host does not
/// know exactly.
pub const LIMITS: Limits =
    Limits { services: 64, backends: 128, slots: 1 << 18, flows: 64, nat_flows: 6, sources: 1024 };

/// Both balancers. Frames go through the kernel's and then through the host's.
pub struct Balancer {
    kernel: Program<Verdict>,
    tables: Tables,
    settings: Mapped<Settings>,
    counters: TrafficCounters,
    /// `INSERT_BUDGET` and `REPLY_BUDGET`.
    budgets: [PerCpuArray<MapData, [u32; 2]>; 2],
    translations: Translations,
    changing: Changing,
    /// The tick after the last packet.
    tick: Cell<u16>,
    /// What the kernel had counted of the flow cache when all was emptied.
    flow_counts: FlowCacheCounts,
    /// Test runs must stay on the processor of the thread that loaded the program.
    _thread: PhantomData<*const ()>,
}

impl Balancer {
    /// Loads the program with empty tables. The calling thread stays on its processor from now on.
    pub fn load() -> anyhow::Result<Self> {
        stay_on_this_cpu()?;
        let Loaded { mut ebpf, arrays, counters, .. } =
            program::load(objects::BALANCER, &LIMITS, None)?;
        let mut budget = |name| {
            let map = ebpf.take_map(name).with_context(|| format!("no {name}"))?;
            anyhow::Ok(PerCpuArray::try_from(map)?)
        };
        let budgets = [budget("INSERT_BUDGET")?, budget("REPLY_BUDGET")?];
        let settings = mapped(&ebpf, "SETTINGS", 1)?;
        let translations = Translations::of(&ebpf)?;
        let mut balancer = Self {
            translations,
            kernel: Program::load(ebpf)?,
            tables: adopt(arrays, HashKey::default())?,
            settings,
            counters,
            budgets,
            flow_counts: FlowCacheCounts::default(),
            changing: Changing::new(&Lengths::from(&LIMITS), LIMITS.services, 0),
            tick: Cell::new(0),
            _thread: PhantomData,
        };
        let now = balancer.settings[0].tick_at(balancer.kernel.jiffies()?);
        balancer.changing.now.set(now);
        balancer.reset(HashKey::derive(b"packets"))?;
        Ok(balancer)
    }

    /// Empties every table, flow cache and counter.
    pub fn reset(&mut self, key: HashKey) -> anyhow::Result<()> {
        let now = self.changing.now.get();
        self.changing = Changing::new(&Lengths::from(&LIMITS), LIMITS.services, now);
        for budget in &mut self.budgets {
            let zeros = vec![[0; 2]; aya::util::nr_cpus().map_err(|(_, error)| error)?];
            budget.set(0, PerCpuValues::try_from(zeros)?, 0)?;
        }
        for id in 0..LIMITS.services {
            self.counters.clear_service(id)?;
        }
        for index in 0..self.changing.backends.len() {
            self.counters.clear_backend(index as u16)?;
        }
        self.flow_counts = self.counters.flow_cache()?;
        let arrays = emptied(self.kernel.ebpf())?;
        self.tables = adopt(arrays, key)?;
        Ok(())
    }

    /// The tables, to fill.
    pub const fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// The arrays as packets see them.
    #[must_use]
    pub fn arrays(&self) -> &Arrays {
        self.tables.arrays()
    }

    /// Allows so many new entries in the flow cache in a tick.
    pub fn set_inserts_per_tick(&mut self, inserts_per_tick: u32) {
        let settings = Settings { inserts_per_tick, ..self.settings[0] };
        self.settings.replace(0, settings);
    }

    /// Allows so many answers of the balancer's own in a tick.
    pub fn set_replies_per_tick(&mut self, replies_per_tick: u32) {
        let settings = Settings { replies_per_tick, ..self.settings[0] };
        self.settings.replace(0, settings);
    }

    /// Has translated flows count their time-outs with so many kernel ticks a second: with 0 every
    /// flow is over at once, with the most none ever is.
    pub fn set_hz(&mut self, hz: u32) {
        let settings = Settings { hz, ..self.settings[0] };
        self.settings.replace(0, settings);
    }

    /// The last known tick of the kernel's clock; see [`lb_common::flow::tick`].
    #[must_use]
    pub const fn now(&self) -> u16 {
        self.changing.now.get()
    }

    /// TCP packets of disputed slots since the last reset.
    #[must_use]
    pub const fn disputed(&self) -> u64 {
        self.changing.disputed.get()
    }

    /// Puts a flow into both flow caches, if there is room.
    pub fn remember(&self, flow: u64, remembered: Remembered) {
        let set = FlowSet::of(flow, self.settings[0].flow_mask) as usize;
        let kernel = self.arrays().flows[set].put(flow, remembered);
        let host = self.changing.flows[set].put(flow, remembered);
        // A full set refuses; it must do so on both sides.
        assert_eq!(kernel, host, "the caches are not the same");
    }

    /// Empties both flow caches.
    pub fn forget(&self) {
        let sets = self.arrays().flows.iter().chain(&self.changing.flows);
        sets.for_each(|set| set.forget(|_, _| true));
    }

    /// Tells both how busy a backend is: flows in progress, and microseconds until it answers.
    pub fn load_backend(&self, index: u16, flows: u32, latency: u32) {
        let kernel = &self.arrays().loads[usize::from(index)];
        for load in [kernel, &self.changing.loads[usize::from(index)]] {
            load.set_flows(flows);
            if latency > 0 {
                load.answered(latency);
            }
        }
    }

    /// The flows that the kernel remembers.
    #[must_use]
    pub fn remembered(&self) -> Vec<Remembered> {
        let sets = self.arrays().flows.iter();
        sets.flat_map(FlowSet::iter).map(|(_, flow)| flow).collect()
    }

    /// Sends a frame through both.
    pub fn run(&mut self, frame: &[u8]) -> anyhow::Result<Pair<Verdict>> {
        let answer = self.kernel.run(frame, 0)?;
        self.follow_time()?;
        let host = self.run_on_host(frame);
        let verdict = self.kernel.verdict(host.verdict)?;
        let kernel = Outcome { action: answer.action, verdict, bytes: answer.bytes };
        Ok(Pair { kernel, host })
    }

    /// Tells the host the time of the kernel's last packet, unless a tick has just passed: then what
    /// the kernel has written down must tell.
    fn follow_time(&self) -> anyhow::Result<()> {
        let tick = self.settings[0].tick_at(self.kernel.jiffies()?);
        if self.tick.replace(tick) == tick {
            self.changing.now.set(tick);
        }
        Ok(())
    }

    /// Sends a frame through both and expects them to agree.
    #[track_caller]
    pub fn agree(&mut self, frame: &[u8]) -> Outcome<Verdict> {
        self.run(frame).expect("a test run").agreed(frame)
    }

    /// Sends a frame through the host's alone, which has to see frames after the kernel does.
    #[must_use]
    pub fn run_on_host(&self, frame: &[u8]) -> Outcome<Verdict> {
        let kernel_tick = || self.kernel_tick();
        let beside = Beside::new(self.arrays(), &self.changing, &kernel_tick);
        self.changing.egress.set(None);
        let mut frame = HostFrame::new(frame);
        let verdict = lb_common::balance(&mut frame, &beside);
        Outcome::of(verdict, frame.bytes().to_vec())
    }

    /// Sends a frame through the kernel's alone, behind `metadata` bytes that take of its headroom.
    pub fn run_behind_metadata(
        &mut self,
        frame: &[u8],
        metadata: u8,
    ) -> anyhow::Result<Outcome<Verdict>> {
        let answer = self.kernel.run(frame, metadata)?;
        Ok(Outcome {
            action: answer.action,
            verdict: self.kernel.verdict(Verdict::NotIp)?,
            bytes: answer.bytes,
        })
    }

    /// What the host has counted for all services since the last reset.
    #[must_use]
    pub fn counted(&self) -> Counters {
        let mut sum = Counters::default();
        self.changing.services.iter().for_each(|service| sum.count(service.get()));
        sum
    }

    /// Where the host's last packet was redirected to. A test run does not tell the kernel's.
    #[must_use]
    pub const fn egress(&self) -> Option<u32> {
        self.changing.egress.get()
    }

    /// What the kernel has counted of a backend's health since the last reset.
    #[must_use]
    pub fn signals(&self, index: u16) -> Signals {
        self.counters.signals(index).expect("the map has the index")
    }

    /// Packets by verdict since the program was loaded, in the order of [`Verdict::ALL`].
    pub fn verdicts(&self) -> anyhow::Result<Vec<u64>> {
        self.kernel.count()
    }

    /// The counters of services and backends and the flow caches of both, which must be the same
    /// after any number of frames.
    pub fn compare(&self) -> anyhow::Result<()> {
        self.kernel.account()?;
        for (id, host) in self.changing.services.iter().enumerate() {
            let kernel = self.counters.service(id as u32)?;
            ensure!(kernel == host.get(), "service {id}: {kernel:?} and {host:?}");
        }
        let all = self.counters.all_backends()?;
        ensure!(all.len() == self.changing.backends.len(), "{} backends", all.len());
        for (index, host) in self.changing.backends.iter().enumerate() {
            let kernel = self.counters.backend(index as u16)?;
            ensure!(all[index] == kernel, "backend {index}: {:?} and {kernel:?}", all[index]);
            ensure!(kernel == host.get(), "backend {index}: {kernel:?} and {host:?}");
        }
        for (set, host) in self.changing.flows.iter().enumerate() {
            let kernel = &self.arrays().flows[set];
            let (kernel, host): (Vec<_>, Vec<_>) = (kernel.iter().collect(), host.iter().collect());
            ensure!(kernel == host, "flow set {set}: {kernel:?} and {host:?}");
        }
        for (index, host) in self.changing.loads.iter().enumerate() {
            let (kernel, host) = (self.arrays().loads[index].flows(), host.flows());
            ensure!(kernel == host, "flows of backend {index}: {kernel} and {host}");
        }
        self.compare_signals()?;
        self.compare_flow_counts()?;
        self.compare_translations()
    }

    /// How long answers took is not compared, nor which are known for certain: the host has a clock
    /// of its own.
    fn compare_signals(&self) -> anyhow::Result<()> {
        let kernel = self.counters.all_signals()?;
        ensure!(kernel.len() == self.changing.signals.len(), "{} backends", kernel.len());
        for (index, (kernel, host)) in kernel.into_iter().zip(&self.changing.signals).enumerate() {
            let Signals { syn_acks, resets, unreachables, repeats, handshakes, .. } = kernel;
            let cells = [&host.syn_acks, &host.resets, &host.unreachables, &host.repeats];
            let kernel = [syn_acks, resets, unreachables, repeats];
            let host = cells.map(Cell::get);
            ensure!(kernel == host, "signals of backend {index}: {kernel:?} and {host:?}");
            ensure!(handshakes <= syn_acks, "backend {index}: {handshakes} of {syn_acks}");
        }
        Ok(())
    }

    fn compare_flow_counts(&self) -> anyhow::Result<()> {
        let (now, before) = (self.counters.flow_cache()?, self.flow_counts);
        let kernel = FlowCacheCounts {
            hits: now.hits - before.hits,
            inserts: now.inserts - before.inserts,
            evictions: now.evictions - before.evictions,
            refusals: now.refusals - before.refusals,
        };
        let FlowCounters { hits, inserts, evictions, refusals } = &self.changing.flow_counters;
        let host = FlowCacheCounts {
            hits: hits.get(),
            inserts: inserts.get(),
            evictions: evictions.get(),
            refusals: refusals.get(),
        };
        ensure!(kernel == host, "counters of the flow cache: {kernel:?} and {host:?}");
        Ok(())
    }

    /// Translated flows of both. When they were last seen is not compared: packets ask for the time
    /// without leaving a trace that the host could follow.
    fn compare_translations(&self) -> anyhow::Result<()> {
        let known = |(tuple, entry): (Tuple, Translation)| {
            let owner = (entry.backend, entry.generation, entry.service);
            let client = (entry.client_link(), entry.client_interface());
            (tuple, (entry.tuple, entry.delta(), owner, entry.state(), client))
        };
        let kernel = self.translations.all()?;
        let kernel: BTreeMap<_, _> = kernel.into_iter().map(known).collect();
        let host: BTreeMap<_, _> =
            self.changing.translations.all().into_iter().map(known).collect();
        ensure!(kernel == host, "translations: {kernel:?} and {host:?}");
        Ok(())
    }

    /// The tick in which the kernel last asked for an insertion or an answer, as it wrote it down:
    /// one more, so that zero is none.
    fn kernel_tick(&self) -> Option<u16> {
        let values = self.budgets.iter().map(|budget| budget.get(&0, 0));
        let values: Vec<_> = values.map(|values| values.expect("the map has one value")).collect();
        let ticks = values.iter().flat_map(|values| values.iter().map(|[tick, _spent]| *tick));
        ticks.max()?.checked_sub(1).map(|tick| tick as u16)
    }
}

fn adopt(arrays: Arrays, key: HashKey) -> anyhow::Result<Tables> {
    Tables::adopt(arrays, key, &LIMITS).context("the tables are not empty")
}
