//! One XDP program in the kernel, run by `BPF_PROG_TEST_RUN`.

use std::{cell::Cell, marker::PhantomData};

use anyhow::{Context as _, bail, ensure};
use aya::{
    Ebpf, TestRunOptions,
    maps::{MapData, MapInfo, PerCpuArray},
    programs::{TestRun as _, Xdp},
};

use super::outcome::{Verdicts, XdpAction};

/// The program that tells the kernel's clock ticks, where there is one.
const CLOCK: &str = "clock";

/// The interface that frames come in by: the loopback, which every network namespace has.
pub const INGRESS: u32 = 1;
/// The shortest frame that a test run takes.
pub const SHORTEST_FRAME: usize = 14;
/// The longest frame that a test run gives to a program in one piece: a page without the headroom
/// and the room for `skb_shared_info`. Longer ones are cut in fragments without a word.
pub const LONGEST_FRAME: usize = 3500;

/// IPv6, UDP and GUE headers and a mark: 72.
const MOST_ADDED: usize = 80;

/// A loaded program and its counters of verdicts.
pub(super) struct Program<V> {
    ebpf: Ebpf,
    counters: PerCpuArray<MapData, u64>,
    counted: Vec<u64>,
    /// Packets that came in.
    runs: Cell<u64>,
    _verdicts: PhantomData<V>,
}

/// What a program did, except for its verdict.
pub(super) struct Answer {
    pub(super) action: XdpAction,
    pub(super) bytes: Vec<u8>,
}

impl<V: Verdicts> Program<V> {
    /// Loads the program of an object whose maps are made.
    pub(super) fn load(mut ebpf: Ebpf) -> anyhow::Result<Self> {
        let program: &mut Xdp =
            ebpf.program_mut(V::PROGRAM).context("program missing")?.try_into()?;
        program.load()?;
        if let Some(clock) = ebpf.program_mut(CLOCK) {
            let clock: &mut Xdp = clock.try_into()?;
            clock.load()?;
        }
        let program: &Xdp = ebpf.program(V::PROGRAM).context("program missing")?.try_into()?;
        let maps = program.info()?.map_ids()?.context("no list of maps")?;
        let counters = PerCpuArray::try_from(aya::maps::Map::PerCpuArray(find(&maps, V::MAP)?))?;
        let runs = Cell::new(0);
        let mut program =
            Self { ebpf, counters, counted: Vec::new(), runs, _verdicts: PhantomData };
        program.counted = program.count()?;
        Ok(program)
    }

    /// The object, for its maps.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Runs the program for one frame, with `metadata` bytes of metadata before it.
    pub(super) fn run(&self, frame: &[u8], metadata: u8) -> anyhow::Result<Answer> {
        ensure!(
            (SHORTEST_FRAME..=LONGEST_FRAME).contains(&frame.len()),
            "the kernel cannot test-run a frame of {} bytes",
            frame.len()
        );
        let program: &Xdp = self.ebpf.program(V::PROGRAM).context("program missing")?.try_into()?;
        let mut input = vec![0; usize::from(metadata)];
        input.extend_from_slice(frame);
        let mut bytes = vec![0; input.len() + MOST_ADDED];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress.
        let context =
            [u32::from(metadata), input.len() as u32, 0, INGRESS, 0, 0].map(u32::to_ne_bytes);
        let result = program.test_run(TestRunOptions {
            data_in: Some(&input),
            data_out: Some(&mut bytes),
            ctx_in: Some(context.as_flattened()),
            ..TestRunOptions::new()
        })?;
        self.runs.set(self.runs.get() + 1);
        bytes.truncate(result.data_size_out as usize);
        bytes.drain(..usize::from(metadata));
        Ok(Answer { action: result.return_value.into(), bytes })
    }

    /// The kernel's jiffies, which the object's clock tells.
    pub(super) fn jiffies(&self) -> anyhow::Result<u64> {
        let program: &Xdp = self.ebpf.program(CLOCK).context("program missing")?.try_into()?;
        let frame = [0; SHORTEST_FRAME];
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        Ok(program.test_run(options)?.return_value.into())
    }

    /// The verdict that has been counted since the last call. `likely` is looked at first, because
    /// each look is a system call.
    pub(super) fn verdict(&mut self, likely: V) -> anyhow::Result<V> {
        let number = likely.number() as usize;
        let now = self.counter(number)?;
        if now == self.counted[number] + 1 {
            self.counted[number] = now;
            return Ok(likely);
        }
        let before = std::mem::take(&mut self.counted);
        self.counted = self.count()?;
        let mut risen = V::all().iter().filter(|verdict| {
            self.counted[verdict.number() as usize] != before[verdict.number() as usize]
        });
        match (risen.next(), risen.next()) {
            (Some(verdict), None) => Ok(*verdict),
            other => bail!("one packet, but these verdicts were counted: {other:?}"),
        }
    }

    /// Whether every packet that came in was passed, sent or dropped, and counted as that once.
    pub(super) fn account(&self) -> anyhow::Result<()> {
        let counted: u64 = self.count()?.iter().sum();
        let runs = self.runs.get();
        ensure!(counted == runs, "{runs} packets came in, {counted} verdicts were counted");
        Ok(())
    }

    /// All counters, in the order of the verdicts.
    pub(super) fn count(&self) -> anyhow::Result<Vec<u64>> {
        (0..V::all().len()).map(|number| self.counter(number)).collect()
    }

    fn counter(&self, number: usize) -> anyhow::Result<u64> {
        Ok(self.counters.get(&(number as u32), 0)?.iter().sum())
    }
}

fn find(maps: &[u32], name: &str) -> anyhow::Result<MapData> {
    for id in maps {
        if MapInfo::from_id(*id)?.name_as_str() == Some(name) {
            return Ok(MapData::from_id(*id)?);
        }
    }
    bail!("the program has no map {name}")
}

/// Keeps the calling thread on the processor that it is on: a test run's per-CPU values are those
/// of one processor then, as on the host.
pub(super) fn stay_on_this_cpu() -> anyhow::Result<()> {
    let mut cpus = nix::sched::CpuSet::new();
    cpus.set(nix::sched::sched_getcpu()?)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus)?;
    Ok(())
}
