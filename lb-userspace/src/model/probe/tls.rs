//! What is asked of a backend's TLS.

use std::path::PathBuf;

/// How a TLS session is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether the certificate must be valid: for the name, now, and issued by somebody trusted.
    pub verify: bool,
    /// PEM file of those who are trusted; `None` trusts those whom this machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Name that is asked for and must be in the certificate; `None` takes the address, which is
    /// not asked for.
    pub server_name: Option<String>,
    /// The check fails if the certificate is valid for fewer days than this.
    pub certificate_days: Option<u32>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self { verify: true, ca_file: None, server_name: None, certificate_days: None }
    }
}
