//! Random tables and random frames, reproducible from a seed.
//!
//! The generator is `fastrand`: it is in the dependency tree anyway, has no dependencies of its
//! own, and what it draws for a seed does not change within a version. Nothing here needs more.

mod clients;
mod configuration;
pub(super) mod desired;
mod event;
mod frames;
mod keys;
mod mutation;
mod tunnels;
mod udp;
mod variants;

pub use configuration::Configuration;
pub use event::happen;
pub use frames::Frames;
pub use mutation::mutate;

use fastrand::Rng;

/// One of the values.
///
/// # Panics
/// If there is none.
pub(super) fn one_of<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

/// True once in so many times.
pub(super) fn once_in(rng: &mut Rng, times: u32) -> bool {
    rng.u32(..times) == 0
}
