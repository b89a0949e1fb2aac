//! The arrays that the daemon and packets share.

use std::io;

use lb_common::{Backend, FlowSet, SLOTS_PER_LINE, Service, Settings, SlotLine};

use super::mapped::Mapped;
use crate::config::Limits;

/// The arrays that the writer fills.
#[derive(Debug)]
pub struct Arrays {
    /// One value.
    pub settings: Mapped<Settings>,
    /// A power of two of places.
    pub services: Mapped<Service>,
    /// Lines of sixteen slots.
    pub slots: Mapped<SlotLine>,
    /// By index; 0 is unused.
    pub backends: Mapped<Backend>,
    /// A power of two of sets.
    pub flows: Mapped<FlowSet>,
}

/// Lengths of the arrays for the configured limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Places of `SERVICES`: four for each service, so that chains of moves stay short.
    pub services: u32,
    /// Lines of `SLOTS`.
    pub slots: u32,
    /// Entries of `BACKENDS`, with the unused first.
    pub backends: u32,
    /// Sets of `FLOWS`.
    pub flows: u32,
}

impl From<&Limits> for Lengths {
    fn from(limits: &Limits) -> Self {
        Self {
            services: (limits.services * 4).next_power_of_two(),
            slots: limits.slots.div_ceil(SLOTS_PER_LINE),
            backends: limits.backends + 1,
            flows: limits.flows.div_ceil(FlowSet::FLOWS).next_power_of_two(),
        }
    }
}

impl Arrays {
    /// Memory that no kernel reads, for tests and questions.
    pub fn anonymous(lengths: &Lengths) -> io::Result<Self> {
        Ok(Self {
            settings: Mapped::anonymous(1)?,
            services: Mapped::anonymous(lengths.services as usize)?,
            slots: Mapped::anonymous(lengths.slots as usize)?,
            backends: Mapped::anonymous(lengths.backends as usize)?,
            flows: Mapped::anonymous(lengths.flows as usize)?,
        })
    }
}
