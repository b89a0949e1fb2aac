//! Translation of addresses and ports, in both directions.

use crate::{
    frame::Frame,
    settings::Settings,
    tables::Tables,
    uncommon::{Beside, Step, Work},
    verdict::Verdict,
};

/// Both ends of a packet, as a key of `TRANSLATIONS`: 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source and destination address, in words as in [`crate::Address`].
    pub source: [u32; 4],
    /// See `source`.
    pub destination: [u32; 4],
    /// Source and destination port as numbers, `source | destination << 16`; of echo packets, the
    /// identifier on the requester's side and zero on the other.
    pub ports: u32,
    /// Protocol number, and 6 or 4 for the family: `protocol | version << 8`.
    pub protocol: u32,
}

/// One value of `TRANSLATIONS`: what becomes of packets with a tuple.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Translation {
    /// The tuple that packets get.
    pub tuple: Tuple,
}

impl Translation {
    /// The same value in a place of its own.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { tuple: self.tuple }
    }
}

/// Translates a client's packet to a service.
#[inline(always)]
pub(crate) fn request<F: Frame, T: Tables>(
    _work: &mut Work,
    _frame: &mut F,
    _beside: &Beside<'_, T>,
) -> Step {
    Step::Done(Verdict::NoBackend)
}

/// Translates a backend's packet to its client, if it is of a translated flow.
#[inline(always)]
pub(crate) fn answer<F: Frame, T: Tables>(
    _work: &mut Work,
    _frame: &mut F,
    _tables: &T,
    _settings: &Settings,
) -> Step {
    Step::Done(Verdict::NotService)
}
