//! What is said over a connection.

use super::Expect;

/// Something that is sent, and the answer that must come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// What is sent, if anything: some servers speak first.
    pub send: Vec<u8>,
    /// What must come back; `None` looks at nothing.
    pub expect: Option<Expect>,
}
