//! Entries on the host alone, as fast as the fuzzer can make them.

use std::{collections::HashMap, io, net::IpAddr, os::fd::AsFd as _};

use anyhow::Context as _;
use lb_common::{
    Address, DecapVerdict, Settings, Verdict, decap,
    host::{HostFrame, HostGate},
};
use lb_userspace::datapath::{
    Mapped,
    arrays::{Arrays, Lengths},
    tables::Tables,
};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{Entry, far_end_addresses, far_end_sources, far_end_targets};
use crate::packets::{
    GUE_PORT, LIMITS, Outcome,
    beside::{Beside, Changing},
    hex, properties,
    random::Configuration,
};

/// Filled tables in the host's memory, since filling them takes longer than all frames of an entry.
#[derive(Default)]
pub struct HostWorlds {
    worlds: HashMap<Vec<u8>, HostWorld>,
    gate: Option<HostGate>,
}

impl HostWorlds {
    const MOST: usize = 200;

    /// Fills the tables of an entry, unless they have been filled before.
    ///
    /// # Panics
    /// If the tables are not large enough for what an entry can describe.
    pub fn prepare(&mut self, entry: &Entry) {
        if self.worlds.contains_key(&entry.tables) {
            return;
        }
        if self.worlds.len() >= Self::MOST {
            self.worlds.clear();
        }
        let world = HostWorld::new(&entry.configuration()).expect("tables for every entry");
        self.worlds.insert(entry.tables.clone(), world);
    }

    /// Sends the frames of an entry, whose tables are prepared, through the balancer, and both the
    /// frames and what became of them through the far end.
    ///
    /// # Panics
    /// If something does not hold that must hold for every frame.
    pub fn run(&mut self, entry: &Entry) {
        let gate = self.gate.get_or_insert_with(gate);
        let world = self.worlds.get_mut(&entry.tables).expect("prepared before");
        world.forget();
        for frame in entry.frames() {
            let outcome = world.run(&frame);
            if let Err(what) = properties::check(&frame, &outcome) {
                panic!("{what}\n{entry}input {}\nhost  {outcome}", hex(&frame));
            }
            for tunnel in [&frame, &outcome.bytes] {
                let opened = open(gate, tunnel);
                if let Err(what) = properties::check_far_end(tunnel, &opened) {
                    panic!("{what}\n{entry}input {}\nhost  {opened}", hex(tunnel));
                }
            }
        }
    }
}

struct HostWorld {
    tables: Tables,
    changing: Changing,
}

impl HostWorld {
    /// Any time: entries are about what packets do, not about how long flows are remembered.
    const NOW: u16 = 1000;

    fn new(configuration: &Configuration) -> anyhow::Result<Self> {
        let lengths = Lengths::from(&LIMITS);
        // A second view of the settings, beside that of the tables: as the kernel's map has two.
        let settings = memfd_create("settings", MFdFlags::MFD_CLOEXEC)?;
        nix::unistd::ftruncate(&settings, size_of::<Settings>() as i64)?;
        let view = || -> io::Result<Mapped<Settings>> { Mapped::of_map(settings.as_fd(), 1) };
        let arrays = Arrays { settings: view()?, ..Arrays::anonymous(&lengths)? };
        let mut tables = Tables::adopt(arrays, configuration.key, &LIMITS)
            .context("tables that are not empty")?;
        configuration.fill(&mut tables)?;
        let mut settings = view()?;
        let (inserts_per_tick, hz) = (configuration.inserts_per_tick, configuration.hz());
        settings.replace(0, Settings { inserts_per_tick, hz, ..settings[0] });
        Ok(Self { tables, changing: Changing::new(&lengths, LIMITS.services, Self::NOW) })
    }

    /// Forgets what earlier frames have left.
    fn forget(&mut self) {
        self.changing = Changing::new(&Lengths::from(&LIMITS), LIMITS.services, Self::NOW);
    }

    fn run(&self, frame: &[u8]) -> Outcome<Verdict> {
        let mut frame = HostFrame::new(frame);
        let beside = Beside::new(self.tables.arrays(), &self.changing, &|| None);
        let verdict = lb_common::balance(&mut frame, &beside);
        Outcome::of(verdict, frame.bytes().to_vec())
    }
}

fn gate() -> HostGate {
    let addresses = |addresses: Vec<IpAddr>| addresses.into_iter().map(Address::from).collect();
    HostGate {
        sources: addresses(far_end_sources().map(|source| source.0).to_vec()),
        own: addresses(far_end_addresses()),
        targets: addresses(far_end_targets()),
        gue_port: GUE_PORT,
        gives_on: true,
        ..HostGate::default()
    }
}

fn open(gate: &HostGate, frame: &[u8]) -> Outcome<DecapVerdict> {
    let mut frame = HostFrame::new(frame);
    let verdict = decap::open(&mut frame, gate);
    Outcome::of(verdict, frame.bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::corpus::seeds;

    #[test]
    fn the_properties_hold_for_the_seeds() {
        let mut worlds = HostWorlds::default();
        for seed in seeds() {
            worlds.prepare(&seed);
            worlds.run(&seed);
        }
    }
}
