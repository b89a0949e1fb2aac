//! The user space of lb: everything that the daemon `lbd` and the command line `lbctl` do.

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod datapath;
pub mod decap;
pub mod event;
pub mod health;
pub mod hooks;
pub mod metrics;
pub mod model;
pub mod netlink;
pub mod objects;
pub mod outlier;
mod programs;
pub mod scaling;
pub mod selection;
pub mod source;
