//! The control API: one line of JSON each way over a Unix socket.

pub mod client;
pub mod difference;
pub mod policy;
pub mod protocol;
pub mod server;
