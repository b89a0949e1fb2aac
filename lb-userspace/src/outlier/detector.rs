//! What all detectors have in common.

use std::net::IpAddr;

use super::Period;

/// Something that tells outliers from other backends.
pub trait Detector {
    /// The word for it.
    fn name(&self) -> &'static str;

    /// Takes in a period, and returns what speaks against backends at present, worst first.
    ///
    /// Only backends in `period` are judged. A weight is found again in each period for as long as
    /// it is to stay.
    fn observe(&mut self, period: &Period<'_>) -> Vec<Finding>;

    /// Drops what speaks against a backend, and keeps what it is compared with: it is out of
    /// service, and begins anew when it is back.
    fn restart(&mut self, backend: &IpAddr);

    /// Backends that something is known of.
    fn known(&self) -> Vec<IpAddr>;

    /// Drops all that is known of a backend.
    fn forget(&mut self, backend: &IpAddr);
}

/// What speaks against a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The backend.
    pub backend: IpAddr,
    /// What found it, in a word.
    pub detector: &'static str,
    /// What should be done.
    pub verdict: Verdict,
    /// One phrase with the numbers, as in "7 of 9 connection attempts failed in 10 s, 1 % is usual
    /// among the others".
    pub evidence: String,
}

/// What should be done with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It should take no new flows for a time.
    Eject,
    /// It should take fewer.
    Lighten {
        /// How much of its weight stays.
        percent: u8,
    },
}
