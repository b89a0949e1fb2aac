//! What a UDP check sends and expects.

use super::Expect;

/// What a UDP check sends and expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpProbe {
    /// Payload of the datagram; may be empty.
    pub send: Vec<u8>,
    /// What a datagram of the answer must look like. Without it, a backend passes that does not
    /// refuse.
    pub expect: Option<Expect>,
}
