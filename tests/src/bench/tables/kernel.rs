//! Commits to the maps of the loaded program, and when packets see them.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use aya::{
    Ebpf, TestRunOptions,
    programs::{TestRun as _, Xdp},
};
use etherparse::PacketBuilder;
use lb_common::{Address, Forward, HashKey, ServiceKey, service};
use lb_userspace::{
    config::Limits,
    datapath::{
        desired::{DesiredMember, DesiredService, Flows},
        program,
        tables::Tables,
    },
    objects,
    selection::size_bits,
};
use serde::Serialize;

use super::super::{cases::Family, harness};

const PROGRAM: &str = "balancer";
/// Where the outer destination of an IPIP packet begins.
const OUTER: usize = 14 + 16;
/// As many as the backends' index of 16 bits allows for ten thousand services.
const BACKENDS: u16 = 6;

/// Commits of a service: times from their beginning, in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Commit {
    pub(super) members: u16,
    pub(super) slots: u32,
    /// Until the commit has returned.
    pub(super) commit_us: f64,
    /// Until a packet has been sent to another backend than before, and its answer is read.
    pub(super) seen_us: f64,
    /// The longest of all runs.
    pub(super) worst_us: f64,
}

/// Many services at once.
#[derive(Debug, Serialize)]
pub(super) struct Many {
    pub(super) services: u16,
    pub(super) backends: u16,
    /// All of them are entered.
    pub(super) load_ms: f64,
    /// The same once more.
    pub(super) same_ms: f64,
    /// One backend of each goes down.
    pub(super) down_ms: f64,
    pub(super) moved: u32,
    pub(super) moved_over_least: f64,
}

/// One backend goes down and up again; a packet in one of its slots says when that is seen.
pub(super) fn visibility(members: u16, slots: Option<u32>, runs: usize) -> anyhow::Result<Commit> {
    let mut loaded = Loaded::new(&Limits::default())?;
    let sized = |out| [DesiredService { table_slots: slots, ..desired(0, members, out) }];
    let (all, down) = (sized(None), sized(Some(1)));
    loaded.commit(&all)?;
    let packet = loaded.packet_to(Family::Ipv4.backend(1))?;
    let (mut commits, mut seen) = (Vec::new(), Vec::new());
    for run in 0..2 * runs {
        let (next, is_down) = if run % 2 == 0 { (&down, true) } else { (&all, false) };
        let start = Instant::now();
        loaded.commit(next)?;
        commits.push(start.elapsed().as_secs_f64() * 1e6);
        let to = loaded.send(&packet)?;
        seen.push(start.elapsed().as_secs_f64() * 1e6);
        ensure!(
            (to != Family::Ipv4.backend(1)) == is_down,
            "after the commit a packet was sent to {to}"
        );
        // Not a part of the commit: what was published before may be used again.
        loaded.settle();
    }
    Ok(Commit {
        members,
        slots: slots.unwrap_or(1 << size_bits(usize::from(members))),
        commit_us: harness::median(commits),
        worst_us: seen.iter().copied().fold(0.0, f64::max),
        seen_us: harness::median(seen),
    })
}

/// All services at once, then once more without a change, then with one backend of each down.
pub(super) fn many(services: u16) -> anyhow::Result<Many> {
    let slots = u32::from(services) << size_bits(usize::from(BACKENDS));
    let limits = Limits {
        services: u32::from(services).next_power_of_two() * 2,
        backends: 65_535,
        // Every table is replaced before any place is used again.
        slots: (2 * slots).next_power_of_two(),
        ..Limits::default()
    };
    let mut loaded = Loaded::new(&limits)?;
    let with = |out| (0..services).map(|number| desired(number, BACKENDS, out)).collect::<Vec<_>>();
    let (all, down) = (with(None), with(Some(1)));
    let mut timed = |desired: &[DesiredService]| {
        let start = Instant::now();
        let moved = loaded.commit(desired)?;
        anyhow::Ok((start.elapsed().as_secs_f64() * 1e3, moved))
    };
    let (load_ms, _) = timed(&all)?;
    let (same_ms, unmoved) = timed(&all)?;
    ensure!(unmoved == 0, "{unmoved} slots moved without a change");
    let (down_ms, moved) = timed(&down)?;
    let least = f64::from(slots) / f64::from(BACKENDS);
    Ok(Many {
        services,
        backends: BACKENDS,
        load_ms,
        same_ms,
        down_ms,
        moved,
        moved_over_least: f64::from(moved) / least,
    })
}

struct Loaded {
    ebpf: Ebpf,
    tables: Tables,
}

impl Loaded {
    fn new(limits: &Limits) -> anyhow::Result<Self> {
        let mut loaded = program::load(objects::BALANCER, limits, None)?;
        let program: &mut Xdp =
            loaded.ebpf.program_mut(PROGRAM).context("program missing")?.try_into()?;
        program.load()?;
        let key = HashKey::derive(b"benchmark");
        let tables = Tables::adopt(loaded.arrays, key, limits).context("new maps are empty")?;
        Ok(Self { ebpf: loaded.ebpf, tables })
    }

    /// Returns how many slots moved.
    fn commit(&mut self, desired: &[DesiredService]) -> anyhow::Result<u32> {
        Ok(self.tables.commit(desired, harness::route).all()?.moved_slots)
    }

    /// Gives back what nobody reads any more.
    fn settle(&mut self) {
        if let Some(epoch) = self.tables.begin_grace() {
            self.tables.reclaim(epoch);
        }
    }

    /// A connection's first packet that goes to `backend`.
    fn packet_to(&self, backend: IpAddr) -> anyhow::Result<Vec<u8>> {
        for port in 1024..=u16::MAX {
            let packet = syn(port);
            if self.send(&packet)? == backend {
                return Ok(packet);
            }
        }
        anyhow::bail!("no packet goes to {backend}")
    }

    /// Runs the program for a packet and returns the backend that it is sent to.
    fn send(&self, packet: &[u8]) -> anyhow::Result<IpAddr> {
        let program: &Xdp = self.ebpf.program(PROGRAM).context("program missing")?.try_into()?;
        let mut out = vec![0; packet.len() + 256];
        let options = TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        program.test_run(options).context("running the program")?;
        let outer: [u8; 4] = out[OUTER..OUTER + 4].try_into()?;
        Ok(Ipv4Addr::from(outer).into())
    }
}

/// Service `number`, of which backend `out` is down.
fn desired(number: u16, members: u16, out: Option<u16>) -> DesiredService {
    let vip: Address = Family::Ipv4.vip().into();
    let member = |backend: u16| DesiredMember {
        address: Family::Ipv4.backend(backend).into(),
        port: 0,
        base_weight: 100,
        weight: if out == Some(backend) { 0 } else { 100 },
        flows: if out == Some(backend) { Flows::Leave } else { Flows::Stay },
    };
    // Of 80 and what follows; as many as there are ports.
    let key = ServiceKey::new(vip, 80 + number, service::TCP);
    DesiredService::plain(key, Forward::Ipip, (1..=members).map(member).collect())
}

fn syn(port: u16) -> Vec<u8> {
    let IpAddr::V4(vip) = Family::Ipv4.vip() else { unreachable!("it is of IPv4") };
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
        .ipv4([10, 0, 0, 2], vip.octets(), 64)
        .tcp(port, 80, 1, 1024)
        .syn()
        .write(&mut bytes, &[0_u8; 10])
        .expect("a vector takes any bytes");
    bytes
}
