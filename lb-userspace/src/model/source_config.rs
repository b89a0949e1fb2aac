//! Where a service's further backends are registered.

use std::path::PathBuf;

/// A checked registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// A file that somebody rewrites, TOML or JSON by its ending.
    File {
        /// Where it is.
        path: PathBuf,
    },
    /// Keys under a prefix of an etcd, one a backend.
    Etcd {
        /// URLs of the members, at least one.
        endpoints: Vec<String>,
        /// What the keys start with; the rest of a key is the backend's address.
        prefix: String,
    },
}
