//! The kernel's side as the daemon holds it: tables, program, interfaces, counters.

mod addresses;
pub mod arrays;
pub mod attach;
mod clock;
pub mod counters;
pub mod desired;
mod history;
pub mod kernel_version;
pub mod keyed;
pub mod lookup;
mod map_calls;
mod mapped;
pub mod nat_sweep;
mod ownership;
#[cfg(feature = "bpf-log")]
mod packet_log;
pub mod pins;
mod places;
pub mod policies;
pub mod program;
mod regions;
mod sys;
pub mod tables;
pub mod translations;
pub mod tunnels;
pub mod variant;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aya::programs::{ProgramError, ProgramInfo, Xdp};
use lb_common::{HashKey, ServiceKey};

pub use mapped::{Mapped, Value};

use crate::{
    config::{Daemon, XdpMode},
    objects,
};
use attach::{AttachError, Attached};
use counters::TrafficCounters;
use nat_sweep::{NatSweep, Ticks};
use ownership::Ownership;
use pins::{PinError, Pins};
use program::{LoadError, Loaded};
use tables::Tables;
use translations::Translations;
use tunnels::Tunnels;
use variant::{Program, Variant};

/// The program's names in its object.
pub const PROGRAM: Program = Program { plain: "balancer", jumbo: "balancer_frags" };

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
            let mut tables = Tables::adopt(arrays, key, &daemon.limits)?;
            tables.set_tunnels(Tunnels::new(daemon.gue_port, &daemon.tunnel_sources));
            Some((tables, counters, map_bytes, ebpf))
        };
        let mut adopted = None;
        if program::are_compatible(&pins.maps(), &daemon.limits) {
            adopted = adopt(load(daemon, &pins.maps())?);
            if adopted.is_none() {
                tracing::warn!(
                    "the pinned tables are another seed's or damaged: building new ones; flows \
                     are hashed anew, and those that were translated or remembered are lost"
                );
            }
        } else if pins.has_tables() {
            tracing::warn!(
                "the pinned tables are of other sizes (daemon.max_*) or of another version: \
                 building new ones; flows that were translated or remembered are lost"
            );
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
        Ok(Self { tables, counters, map_bytes, adopted, ebpf, pins, maps_are_new, ownership })
    }

    /// Ends the dispute of a service's slots whose flows have been silent for `grace`; see
    /// [`Tables::settle`]. Returns how many are still disputed.
    pub fn settle_slots(
        &self,
        key: &ServiceKey,
        grace: Duration,
        drains: impl Fn(u16) -> bool,
    ) -> Result<u32, ProgramError> {
        let (now, idle) = clock::now(&self.ebpf, grace)?;
        Ok(self.tables.settle(key, now, idle, drains))
    }

    /// A walk over the translated flows.
    pub fn nat_sweep(&self) -> Result<NatSweep, LoadError> {
        Translations::of(&self.ebpf).map(NatSweep::new)
    }

    /// The kernel's clock now.
    pub fn ticks(&self) -> Result<Ticks, ProgramError> {
        let (now, _) = clock::now(&self.ebpf, Duration::ZERO)?;
        Ok(Ticks { now, hz: clock::hz() })
    }

    /// Makes packets of an interface go through the program.
    pub fn attach(&mut self, interface: &str, mode: XdpMode) -> Result<Attached, DatapathError> {
        let pin = self.pins.link(interface);
        let attached = attach::attach(&mut self.ebpf, PROGRAM, interface, mode, &pin)?;
        if attached.mode.is_some() {
            self.ownership.attached(interface);
        }
        Ok(attached)
    }

    /// After all interfaces are attached: puts new maps in the place of old ones, detaches from
    /// interfaces that are not `wanted`, and removes what other versions have left.
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
        if let Err(error) = self.pins.remove_other_layouts() {
            tracing::warn!(%error, "maps of another version stay; they only take memory");
        }
        Ok(())
    }

    /// The kernel's numbers for the program's variants that are loaded.
    #[must_use]
    pub fn program_ids(&self) -> Vec<u32> {
        self.loaded().map(|info| info.id()).collect()
    }

    /// Instructions that the verifier walked through, where the kernel tells.
    #[must_use]
    pub fn verified_instructions(&self) -> Option<u32> {
        self.loaded().find_map(|info| info.verified_instruction_count())
    }

    fn loaded(&self) -> impl Iterator<Item = ProgramInfo> + '_ {
        [Variant::Plain, Variant::Jumbo]
            .into_iter()
            .filter_map(|variant| self.ebpf.program(PROGRAM.name(variant))?.info().ok())
    }
}

fn load(daemon: &Daemon, maps: &Path) -> Result<Loaded, DatapathError> {
    let started = Instant::now();
    let mut loaded = program::load(objects::BALANCER, &daemon.limits, Some(maps))?;
    let unverified = |error| LoadError::from(Box::new(error));
    let clock: &mut Xdp = loaded
        .ebpf
        .program_mut(clock::PROGRAM)
        .and_then(|found| found.try_into().ok())
        .ok_or(AttachError::NoProgram(clock::PROGRAM))?;
    clock.load().map_err(unverified)?;
    // A refusal must be known before anything is attached.
    for interface in &daemon.interfaces {
        let [variant, _] = Variant::of_interface(interface);
        PROGRAM.load(&mut loaded.ebpf, variant)?;
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
