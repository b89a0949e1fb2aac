//! Flows go along when the pinned maps cannot be used as they are: those of another version of lb, or
//! of other sizes.
//!
//! Each daemon describes in a map `LAYOUT` what lies where in the maps beside it ([`description`]).
//! The next one reads them by that ([`former`]), whatever its own types are, fills its new maps so
//! that they seem to be left by an earlier daemon of its own kind ([`plant`]), and goes on from
//! there. Packets change the old maps until the last interface runs the new program; what they add
//! is copied until then ([`copier`]). Which maps are the latest, the directory tells ([`sets`]).

mod copier;
mod description;
mod fields;
mod former;
mod measure;
mod plant;
mod raw;
pub(super) mod sets;

pub(super) use copier::Copier;
pub(super) use former::Former;
pub(super) use plant::{Planted, plant};

#[cfg(test)]
mod tests;
