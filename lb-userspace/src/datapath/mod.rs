//! The kernel's side as the daemon holds it: tables, program, interfaces, counters.

mod addresses;
pub mod arrays;
pub mod attach;
mod carry;
mod clock;
pub mod counters;
pub mod desired;
pub mod foreign;
mod history;
pub mod kernel_version;
pub mod keyed;
pub mod loads;
pub(crate) mod locks;
pub mod lookup;
mod map_calls;
pub mod map_memory;
mod mapped;
pub mod nat_sweep;
mod opening;
mod ownership;
#[cfg(feature = "bpf-log")]
mod packet_log;
pub mod pins;
mod places;
pub mod policies;
pub mod program;
mod regions;
mod rows;
pub mod schedulers;
pub mod signals;
mod sys;
pub mod tables;
pub mod translations;
pub mod tunnels;
pub mod unreachables;
pub mod variant;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use aya::programs::{ProgramError, ProgramInfo, Xdp};
use lb_common::ServiceKey;

pub use mapped::{Mapped, Value};

use crate::{
    config::{Daemon, XdpMode},
    objects,
};
use attach::{AttachError, Attached};
use carry::Copier;
use counters::TrafficCounters;
use foreign::Occupants;
use loads::{FlowCount, TranslatedCount};
use nat_sweep::{NatSweep, Ticks};
use ownership::Ownership;
use pins::{PinError, Pins};
use program::{LoadError, Loaded};
use tables::Tables;
use translations::Translations;
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
    copier: Option<Copier>,
    ownership: Ownership,
    occupants: Occupants,
}

impl Datapath {
    /// Takes over the maps that are pinned, or makes new ones beside them, and loads the program.
    /// Packets see nothing of it before [`Datapath::attach`].
    pub fn open(daemon: &Daemon) -> Result<Self, DatapathError> {
        let pins = Pins::new(&daemon.pin_dir);
        let ownership = Ownership::take(&pins)?;
        let opened = opening::open(daemon, &pins)?;
        Ok(Self {
            tables: opened.tables,
            counters: opened.counters,
            map_bytes: opened.map_bytes,
            adopted: !opened.is_new,
            copier: opened.copier,
            ebpf: opened.ebpf,
            pins,
            maps_are_new: opened.is_new,
            ownership,
            occupants: Occupants::default(),
        })
    }

    /// Ends the dispute of a service's slots whose flows have been silent for `grace`; see
    /// [`Tables::settle`]. Returns how many are still disputed.
    pub fn settle_slots(&self, key: &ServiceKey, grace: Duration) -> Result<u32, ProgramError> {
        let (now, idle) = clock::now(&self.ebpf, grace)?;
        Ok(self.tables.settle(key, now, idle))
    }

    /// A walk over the translated flows, which counts them too.
    pub fn nat_sweep(&self) -> Result<NatSweep, LoadError> {
        let sweep = Translations::of(&self.ebpf).map(NatSweep::new)?;
        Ok(sweep.counting(TranslatedCount::of(&self.ebpf)?))
    }

    /// A walk over the flow cache.
    pub fn flow_count(&self) -> Result<FlowCount, LoadError> {
        FlowCount::of(&self.ebpf)
    }

    /// The kernel's clock now.
    pub fn ticks(&self) -> Result<Ticks, ProgramError> {
        let (now, _) = clock::now(&self.ebpf, Duration::ZERO)?;
        Ok(Ticks { now, hz: clock::hz() })
    }

    /// Whether an interface goes on with an update, which nobody refuses.
    #[must_use]
    pub fn has_attachment(&self, interface: &str) -> bool {
        self.pins.link(interface).exists()
    }

    /// Follows interfaces that were renamed; see [`attach::follow_names`].
    pub fn follow_names(&self) -> Result<(), DatapathError> {
        Ok(attach::follow_names(&self.pins)?)
    }

    /// Makes packets of an interface go through the program.
    pub fn attach(&mut self, interface: &str, mode: XdpMode) -> Result<Attached, DatapathError> {
        attach::follow_names(&self.pins)?;
        self.put_in_force()?;
        let pin = self.pins.link(interface);
        let occupants = &mut self.occupants;
        let attached = attach::attach(&mut self.ebpf, PROGRAM, interface, mode, &pin, occupants);
        if !matches!(attached, Err(AttachError::Occupied { .. })) {
            occupants.forget(interface);
        }
        let attached = attached?;
        match attached.mode {
            Some(_) => self.ownership.attached(interface),
            None => self.ownership.updated(),
        }
        if let Some(copier) = &mut self.copier {
            copier.catch_up();
        }
        Ok(attached)
    }

    /// From here on packets may use the maps.
    fn put_in_force(&mut self) -> Result<(), PinError> {
        if let Some(copier) = &mut self.copier {
            copier.hold();
            copier.catch_up();
        }
        if std::mem::take(&mut self.maps_are_new) { self.ownership.put_in_force() } else { Ok(()) }
    }

    /// After all interfaces are attached: detaches from interfaces that are not `wanted`, and removes
    /// what other daemons have left.
    pub fn settle(&mut self, wanted: &[String]) -> Result<(), DatapathError> {
        self.put_in_force()?;
        self.ownership.complete();
        for interface in self.pins.attached()? {
            if !wanted.contains(&interface) {
                tracing::info!(interface, "detaching: not in the configuration any more");
                attach::release(&interface, &self.pins.link(&interface))?;
            }
        }
        if let Some(copied) = self.copier.take().map(Copier::finish)
            && copied.refused > 0
        {
            tracing::warn!(
                flows = copied.refused,
                "not all flows fit into the new tables: raise daemon.max_flows or max_nat_flows"
            );
        }
        if let Err(error) = self.pins.remove_other_maps() {
            tracing::warn!(%error, "maps of another daemon stay; they only take memory");
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
