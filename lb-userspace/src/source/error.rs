//! Why a registry gave no answer, or one that cannot be believed.

use super::{MAX_ENTRIES, snapshot::EntryProblem};

/// Why a registry gave no answer, or one that cannot be believed. Either way the last good one
/// stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers there.
    #[error("{place} cannot be read: {problem}")]
    Unreachable {
        /// Path or URL.
        place: String,
        /// What the system or the registry says.
        problem: String,
    },
    /// The answer as a whole cannot be read.
    #[error("{place} is not understood: {problem}")]
    Malformed {
        /// Path or URL.
        place: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// One entry is bad, which refuses all of the answer.
    #[error("entry `{entry}` is refused, and the whole answer with it: {problem}")]
    Entry {
        /// The entry as it is written, cut short, without control characters.
        entry: String,
        /// What is wrong with it.
        problem: EntryProblem,
    },
    /// The answer is larger than any table.
    #[error("the answer has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// The program was built without what this registry needs.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl SourceError {
    pub(super) fn entry(entry: &[u8], problem: EntryProblem) -> Self {
        Self::Entry { entry: shown(entry), problem }
    }
}

/// Bytes from outside, fit for a log line.
pub(super) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 160;
    String::from_utf8_lossy(bytes).escape_debug().take(LONGEST).collect()
}
