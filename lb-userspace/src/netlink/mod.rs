//! What the kernel knows about the network: ways to addresses, interfaces, our own addresses.
//!
//! The kernel's routing and neighbour tables are the only truth; nothing here routes on its own.
//! Every answer is read anew when an event says that it may have changed, and all of them every
//! few seconds, so a lost event costs time and never correctness.
//!
//! | file | decides (pure) | does |
//! |---|---|---|
//! | `route` `entry` `interface` `outlet` | what the kernel's answers mean | |
//! | `finding` `watched` `change` | what is reported, what an event can touch | |
//! | `requests` `events` | | talk to the kernel |
//! | `reader` `watcher` `neighbours` | | keep ways true |
//! | `follow` `addresses` | | keep the list of our addresses true |
//!
//! All of it needs `CAP_NET_ADMIN` and no other privilege.

mod addresses;
mod change;
mod entry;
mod events;
mod finding;
mod follow;
mod interface;
mod neighbours;
mod outlet;
mod reader;
mod requests;
mod route;
mod task;
mod watched;
mod watcher;
mod way;

pub use addresses::{local_addresses, watch_local_addresses};
pub use interface::{AttachedXdp, Interface, Vlan, XdpAttachMode, interface};
pub use neighbours::{Neighbours, resolve_once};
pub use way::{Fault, InterfaceProblem, Via, Way, WayEvent};
