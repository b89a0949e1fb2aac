//! What both sides of the kernel boundary agree on.
//!
//! The packet core is generic over how bytes ([`Frame`]) and tables ([`Tables`]) are reached, so
//! that one source runs in the kernel and on the host. It decides and rewrites; it never
//! allocates, never loops over payload and never panics.

#![cfg_attr(not(any(test, feature = "host")), no_std)]

pub mod address;
pub mod backend;
pub mod balance;
pub mod bench;
pub mod bucket;
pub mod checksum;
pub mod counters;
pub mod decap;
mod dispute;
pub mod find;
pub mod flow;
pub mod forward;
mod fragment;
pub mod frame;
pub mod hash;
mod hop_limit;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod layout;
pub mod load;
pub mod nat;
pub mod packet;
pub mod policy;
mod quic;
pub mod ranges;
mod reply;
mod send;
pub mod service;
pub mod settings;
pub mod shared;
pub mod signals;
pub mod slot;
pub mod tables;
pub mod tags;
#[cfg(test)]
mod testing;
pub mod uncommon;
pub mod verdict;

pub use address::Address;
pub use backend::{Backend, Link, NextHop};
pub use balance::{balance, common};
pub use counters::Counters;
pub use flow::FlowSet;
pub use forward::Forward;
pub use frame::{Ethernet, Frame, Header};
pub use hash::HashKey;
pub use policy::Policy;
pub use service::{Service, ServiceKey, Table};
pub use settings::Settings;
pub use slot::{SLOTS_PER_LINE, Slot, SlotLine};
pub use tables::Tables;
pub use uncommon::{remembered::short as remembered, uncommon};
pub use verdict::{Action, DecapVerdict, Verdict};
