//! The programs, their tables, and the runs.

use std::{cell::Cell, net::IpAddr, os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf, TestRunOptions,
    maps::Map,
    programs::{TestRun as _, Xdp},
};
use lb_common::{
    Address, Forward, HashKey, Link, NextHop, ServiceKey, Settings, bench::Bench,
    policy::Scheduler, service, settings::feature,
};
use lb_userspace::{
    config::Limits,
    datapath::{
        Mapped,
        desired::{DesiredMember, DesiredService, Flows, Route},
        policies::DesiredPolicy,
        program,
        schedulers::DesiredScheduler,
        tables::Tables,
    },
    objects,
};

use super::cases::{Case, Family, Kind};

const DRIVER: &str = "bench_driver";
const FLOOR: &str = "bench_floor";
const PATH: &str = "bench_path";
const BACKENDS: u16 = 100;

/// What a case cost, in nanoseconds a packet, medians of the runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// The driver alone.
    pub(super) driver: f64,
    /// The floor with its driver.
    pub(super) floor: f64,
    /// The packet path with its driver.
    pub(super) path: f64,
}

/// The loaded programs.
pub(super) struct Harness {
    ebpf: Ebpf,
    bench: Mapped<Bench>,
    settings: Mapped<Settings>,
    tables: Tables,
}

impl Harness {
    pub(super) fn load() -> anyhow::Result<Self> {
        let limits = Limits { flows: 1 << 22, nat_flows: 1 << 17, ..Limits::default() };
        let mut loaded = program::load(objects::BENCH, &limits, None)?;
        for name in [DRIVER, FLOOR, PATH] {
            let program: &mut Xdp =
                loaded.ebpf.program_mut(name).context("program missing")?.try_into()?;
            program.load()?;
        }
        let Some(Map::Array(map)) = loaded.ebpf.map("BENCH") else { bail!("map BENCH is missing") };
        let bench = Mapped::of_map(map.fd().as_fd(), 1)?;
        let Some(Map::Array(map)) = loaded.ebpf.map("SETTINGS") else {
            bail!("map SETTINGS is missing")
        };
        let settings = Mapped::of_map(map.fd().as_fd(), 1)?;
        let key = HashKey::derive(b"benchmark");
        let mut tables =
            Tables::adopt(loaded.arrays, key, &limits).context("new maps are empty")?;
        tables.commit(&services(Cell::new(0)), route).all()?;
        // The tracked service loses a tenth of its slots to others, and all are disputed: every
        // member takes part in a move of weights and back.
        for step in 1..=BACKENDS {
            tables.commit(&services(Cell::new(step)), route).all()?;
        }
        let mut harness = Self { ebpf: loaded.ebpf, bench, settings, tables };
        // What a flow costs that is remembered is to be measured, not that it is refused.
        let settings = Settings { inserts_per_tick: u32::MAX, ..harness.settings[0] };
        harness.settings.replace(0, settings);
        Ok(harness)
    }

    pub(super) fn measure(
        &mut self,
        case: &Case,
        runs: usize,
        packets: u32,
    ) -> anyhow::Result<Measured> {
        self.translate(case.path == "nat");
        // What other cases have left in the flow cache keeps flows of this one out.
        self.tables.arrays().flows.iter().for_each(|set| set.forget(|_, _| true));
        let packet = case.packet();
        let mut samples = [const { Vec::new() }; 3];
        if case.needs_beginnings() {
            // Every flow begins once, so that the tables hold it.
            self.run(PATH, &case.first_packet(), case, case.flows)?;
        }
        for run in 0..=runs {
            for (name, samples) in [DRIVER, FLOOR, PATH].into_iter().zip(&mut samples) {
                let time = self.run(name, &packet, case, packets)?;
                // The first round warms caches and page tables.
                if run > 0 {
                    samples.push(time.as_nanos() as f64);
                }
            }
        }
        let [driver, floor, path] = samples.map(median);
        Ok(Measured { driver, floor, path })
    }

    /// Has packets that are for no service looked up as answers of translated flows, or not: where
    /// nothing is translated they are not.
    fn translate(&mut self, is_used: bool) {
        let settings = self.settings[0];
        let others = settings.features & !feature::NAT;
        let features = if is_used { others | feature::NAT } else { others };
        self.settings.replace(0, Settings { features, ..settings });
    }

    /// One run of a program over the flows of a case, after which the verdicts are checked: a fast
    /// program that does not do its work must not look good.
    fn run(
        &mut self,
        name: &str,
        packet: &[u8],
        case: &Case,
        packets: u32,
    ) -> anyhow::Result<Duration> {
        let next = if matches!(case.kind, Kind::New | Kind::TrackedNew | Kind::ScheduledNew) {
            self.bench[0].next
        } else {
            0
        };
        let start = Bench { flow_mask: case.flows - 1, next, ..Bench::default() };
        self.bench.replace(0, start);
        let program: &Xdp = self.ebpf.program(name).context("program missing")?.try_into()?;
        let mut out = vec![0; packet.len() + 256];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            repeat: packets,
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).with_context(|| format!("running {name}"))?;
        let seen = self.bench[0];
        let expected = match (name, case.kind) {
            (DRIVER, _) | (PATH, Kind::Pass) => (0, u64::from(packets)),
            _ => (u64::from(packets), 0),
        };
        if (seen.sent, seen.passed) != expected {
            bail!(
                "{name} did not do its work in {case:?}: {seen:?}, expected (sent, passed) {expected:?}"
            );
        }
        Ok(result.duration)
    }
}

/// The middle one.
pub(super) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Keeps the process on the second processor if there is one, where the machine's own work is less.
pub(super) fn stay_on_one_cpu() {
    let mut cpus = nix::sched::CpuSet::new();
    let last = std::thread::available_parallelism().map_or(0, |count| count.get() - 1);
    if cpus.set(last).is_ok() {
        // Only the spread of the figures suffers if it is refused.
        let _ = nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus);
    }
}

/// Services at port 80 (`ipip`), 81 (`l2`), 82 (`ipip`, disputed), 83 (`nat`) and 84 (`ipip`, in
/// turns) for both protocols and families. `step` moves the weight of one member of the disputed
/// ones at a time.
fn services(step: Cell<u16>) -> Vec<DesiredService> {
    let mut services = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        for (port, forward) in [
            (80, Forward::Ipip),
            (81, Forward::L2),
            (82, Forward::Ipip),
            (83, Forward::Nat),
            (84, Forward::Ipip),
        ] {
            for protocol in [service::TCP, service::UDP] {
                let out = if port == 82 { step.get() } else { 0 };
                let member = |number: u16| DesiredMember {
                    address: family.backend(number).into(),
                    port: 0,
                    base_weight: 100,
                    weight: if number == out { 0 } else { 100 },
                    flows: Flows::Stay,
                };
                let key = ServiceKey::new(family.vip().into(), port, protocol);
                let members = (1..=BACKENDS).map(member).collect();
                let nat_ports = (forward == Forward::Nat).then_some((1024, 32_767));
                services.push(DesiredService {
                    policy: DesiredPolicy {
                        nat_ports,
                        scheduler: DesiredScheduler::new(if port == 84 {
                            Scheduler::Rotate
                        } else {
                            Scheduler::Slot
                        }),
                        ..DesiredPolicy::default()
                    },
                    ..DesiredService::plain(key, forward, members)
                });
            }
        }
    }
    services
}

/// Every backend is behind interface 1, which is also where test runs say that packets come from.
pub(super) fn route(_: Forward, address: &Address) -> Option<Route> {
    let source: IpAddr = match IpAddr::from(*address) {
        IpAddr::V4(_) => IpAddr::from([10, 1, 255, 1]),
        IpAddr::V6(_) => IpAddr::from([0xfd00, 1, 0, 0, 0, 0, 2, 1]),
    };
    let link = Link { destination: [2, 0, 0, 0, 0, 3], source: [2, 0, 0, 0, 0, 4] };
    Some(Route { source: source.into(), next: NextHop { interface: 1, mtu: 1500, vlan: 0, link } })
}
