//! The kernel's side as the daemon holds it: tables, program, interfaces, counters.

pub mod arrays;
pub mod attach;
mod clock;
pub mod counters;
pub mod desired;
mod history;
pub mod kernel_version;
pub mod lookup;
mod mapped;
mod ownership;
#[cfg(feature = "bpf-log")]
mod packet_log;
pub mod pins;
mod places;
pub mod program;
mod regions;
mod sys;
pub mod tables;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aya::programs::{ProgramError, Xdp};
use lb_common::{HashKey, ServiceKey};

pub use mapped::{Mapped, Value};

use crate::{
    config::{Daemon, XdpMode},
    objects,
};
use attach::AttachError;
use clock::Clock;
use counters::TrafficCounters;
use ownership::Ownership;
use pins::{PinError, Pins};
use program::{LoadError, Loaded};
use tables::Tables;

/// The program's name in its object.
pub const PROGRAM: &str = "balancer";

/// Why the data plane cannot be taken over or built.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// Files on the BPF file system.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The object.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An interface.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// New maps are not empty.
    #[error("new maps are not empty: this build of lb is broken")]
    NotEmpty,
}

/// The data plane, which goes on when this value is dropped.
pub struct Datapath {
    /// The tables that packets read.
    pub tables: Tables,
    /// The counters that packets write.
    pub counters: TrafficCounters,
    /// Memory of all maps in bytes.
    pub map_bytes: u64,
    /// Whether an earlier daemon's tables were taken over.
    pub adopted: bool,
    ebpf: aya::Ebpf,
    clock: Clock,
    pins: Pins,
    maps_are_new: bool,
    ownership: Ownership,
}

impl Datapath {
    /// Takes over the maps that are pinned, or makes new ones beside them, and loads the program.
    /// Packets see nothing of it before [`Datapath::attach`].
    pub fn open(daemon: &Daemon) -> Result<Self, DatapathError> {
        let pins = Pins::new(&daemon.pin_dir);
        let ownership = Ownership::take(&pins)?;
        let key = HashKey::derive(daemon.hash_seed.reveal().as_bytes());
        let adopt = |loaded: Loaded| {
            let Loaded { ebpf, arrays, counters, map_bytes } = loaded;
            let tables = Tables::adopt(arrays, key, &daemon.limits)?;
            Some((tables, counters, map_bytes, ebpf))
        };
        let mut adopted = None;
        if program::are_compatible(&pins.maps(), &daemon.limits) {
            adopted = adopt(load(daemon, &pins.maps())?);
            if adopted.is_none() {
                tracing::warn!(
                    "the pinned tables are another seed's or damaged: building new ones; flows \
                     are hashed anew"
                );
            }
        }
        let maps_are_new = adopted.is_none();
        let (tables, counters, map_bytes, ebpf) = match adopted {
            Some(adopted) => adopted,
            None => {
                pins::create(&pins.new_maps())?;
                adopt(load(daemon, &pins.new_maps())?).ok_or(DatapathError::NotEmpty)?
            }
        };
        let adopted = !maps_are_new;
        let clock = Clock::start(&ebpf).map_err(|error| LoadError::from(Box::new(error)))?;
        Ok(Self {
            tables,
            counters,
            map_bytes,
            adopted,
            ebpf,
            clock,
            pins,
            maps_are_new,
            ownership,
        })
    }

    /// Ends the dispute of a service's slots whose flows have been silent for `grace`; see
    /// [`Tables::settle`]. Returns how many are still disputed.
    pub fn settle_slots(
        &self,
        key: &ServiceKey,
        grace: Duration,
        drains: impl Fn(u16) -> bool,
    ) -> Result<u32, ProgramError> {
        let (now, idle) = self.clock.now(&self.ebpf, grace)?;
        Ok(self.tables.settle(key, now, idle, drains))
    }

    /// Makes packets of an interface go through the program. Returns the mode of a new attachment.
    pub fn attach(
        &mut self,
        interface: &str,
        mode: XdpMode,
    ) -> Result<Option<XdpMode>, DatapathError> {
        let pin = self.pins.link(interface);
        let attached = attach::attach(&mut self.ebpf, PROGRAM, interface, mode, &pin)?;
        if attached.is_some() {
            self.ownership.attached(interface);
        }
        Ok(attached)
    }

    /// After all interfaces are attached: puts new maps in the place of old ones and detaches from
    /// interfaces that are not `wanted`.
    pub fn settle(&mut self, wanted: &[String]) -> Result<(), DatapathError> {
        if self.maps_are_new {
            self.pins.replace_maps()?;
            self.maps_are_new = false;
        }
        self.ownership.complete();
        for interface in self.pins.attached()? {
            if !wanted.contains(&interface) {
                tracing::info!(interface, "detaching: not in the configuration any more");
                attach::release(&interface, &self.pins.link(&interface))?;
            }
        }
        Ok(())
    }

    /// The kernel's number for the program.
    #[must_use]
    pub fn program_id(&self) -> Option<u32> {
        Some(self.ebpf.program(PROGRAM)?.info().ok()?.id())
    }

    /// Instructions that the verifier walked through, where the kernel tells.
    #[must_use]
    pub fn verified_instructions(&self) -> Option<u32> {
        let info = self.ebpf.program(PROGRAM)?.info().ok()?;
        info.verified_instruction_count()
    }
}

fn load(daemon: &Daemon, maps: &Path) -> Result<Loaded, DatapathError> {
    let started = Instant::now();
    let mut loaded = program::load(objects::BALANCER, &daemon.limits, Some(maps))?;
    for name in [PROGRAM, clock::PROGRAM] {
        let program: &mut Xdp = loaded
            .ebpf
            .program_mut(name)
            .and_then(|found| found.try_into().ok())
            .ok_or(AttachError::NoProgram(name))?;
        program.load().map_err(|error| LoadError::from(Box::new(error)))?;
    }
    #[cfg(feature = "bpf-log")]
    packet_log::follow(&mut loaded.ebpf);
    tracing::debug!(took = ?started.elapsed(), "loaded the program");
    Ok(loaded)
}

/// Takes the program off all interfaces and removes all tables: the opposite of everything else
/// here. Returns the interfaces.
pub fn detach(pin_dir: &Path) -> Result<Vec<String>, DatapathError> {
    let pins = Pins::new(pin_dir);
    if !pins.exist() {
        return Ok(Vec::new());
    }
    let _lock = pins.lock()?;
    let interfaces = pins.attached()?;
    for interface in &interfaces {
        attach::release(interface, &pins.link(interface))?;
    }
    pins.remove_all()?;
    Ok(interfaces)
}
