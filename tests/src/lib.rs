//! The test rig: hosts, links and traffic on one machine, and nothing left of them afterwards.
//!
//! A [`Host`] is a network and a mount namespace without a name, held by a process that dies with
//! this one. So pins, sockets, interfaces and files of a test vanish however the test ends, and
//! tests that run side by side do not meet. A [`Topology`] is a set of hosts wired like the
//! network that `lb` is for. [`Daemon`]s run in hosts, [`Load`] and [`Download`] are clients that
//! account for each request, and [`waiting`] replaces every sleep.
//!
//! The rig needs root, iproute2 and a kernel with namespaces, veth and bridges.

mod binaries;
mod capture;
mod daemon;
mod error;
mod host;
mod keeper;
mod link;
mod load;
mod namespaces;
mod offload;
mod server;
mod topology;

pub mod address;
pub mod bench;
pub mod clock;
pub mod content;
pub mod disruption;
pub mod lbctl;
pub mod leftovers;
pub mod packets;
pub mod report;
pub mod simulation;
pub mod verifier;
pub mod waiting;

pub use binaries::program;
pub use daemon::Daemon;
pub use error::RigError;
pub use host::Host;
pub use lbctl::Lbctl;
pub use load::{Download, Load};
pub use server::Server;
pub use topology::{Mtus, Plan, Topology};
