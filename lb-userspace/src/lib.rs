//! The user space of lb: everything that the daemon `lbd` and the command line `lbctl` do.

pub mod config;
pub mod datapath;
pub mod model;
pub mod objects;
pub mod selection;
