//! Years of failures in seconds: the control core, driven by chance, and promises that it must keep.
//!
//! A seed draws a [`plan`]: services and their settings, and what goes wrong when. The [`world`] knows
//! how each backend really is, runs its checks, and loses, delays and doubles their results. After
//! every step of the control core the [`promises`] are looked at, by counts of their own. There is no
//! clock but that of the world, and no chance but that of the seed, so a seed is a whole story: it can
//! be told again.

mod damping;
mod plan;
mod promises;
mod truth;
mod world;

pub use plan::Sabotage;
pub use promises::Violation;
pub use world::{Story, run};
