//! Finds a BPF toolchain and compiles `lb-ebpf` with it.
//!
//! The build script of lb-userspace calls [`provide`] to have the objects that it embeds; xtask
//! asks [`Toolchain`] what a machine lacks. The crate has no dependencies: xtask has to compile in
//! seconds on a machine that has nothing yet. It finds and reports; it never installs anything.

mod compile;
mod error;
mod places;
pub mod toolchain;

pub use compile::{OBJECTS, provide};
pub use error::Error;
pub use places::{inputs, target_directory, tools_directory};
pub use toolchain::Toolchain;

/// A directory of ready-made objects, for packagers: with it set, nothing is compiled.
pub const OBJECTS_VARIABLE: &str = "LB_EBPF_OBJECTS";

/// The environment variables that decide how the objects are made.
pub const VARIABLES: [&str; 3] =
    [OBJECTS_VARIABLE, toolchain::ROUTE_VARIABLE, places::TOOLS_VARIABLE];
