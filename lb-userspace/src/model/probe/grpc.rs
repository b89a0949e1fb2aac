//! What is asked of a backend's gRPC.

use super::TlsOptions;

/// A question to the service `grpc.health.v1.Health`, which is answered with SERVING.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrpcProbe {
    /// Which of the server's services is asked about; empty for the server as a whole.
    pub service: String,
    /// How it is encrypted; `None` where it is not.
    pub tls: Option<TlsOptions>,
}
