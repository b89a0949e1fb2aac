//! The kernel's side as the daemon holds it: tables, program, interfaces, next hops, counters.

pub mod counters;
pub mod desired;
mod history;
mod mapped;
mod places;
pub mod program;
mod regions;
pub mod tables;

pub use mapped::{Mapped, Value};
