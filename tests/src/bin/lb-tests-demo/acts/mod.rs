//! The acts of the demo, a file each.

mod add;
mod crash;
mod drain;
mod failure;
mod leave;
mod spread;
mod start;

use lb_tests::RigError;

use crate::stage::Stage;

/// One act.
pub(crate) struct Act {
    pub(crate) title: &'static str,
    /// What the audience should know, in lines of the screen's width.
    pub(crate) explanation: &'static str,
    pub(crate) play: fn(&mut Stage<'_>) -> Result<(), RigError>,
}

/// All of them, in order; each goes on where the one before ended.
pub(crate) const ACTS: &[Act] =
    &[start::ACT, spread::ACT, failure::ACT, drain::ACT, add::ACT, crash::ACT, leave::ACT];
