//! The control API: one line of JSON each way over a Unix socket; who follows events gets further
//! ones.

pub mod client;
pub mod difference;
pub mod events;
pub mod policy;
pub mod protocol;
pub mod server;
