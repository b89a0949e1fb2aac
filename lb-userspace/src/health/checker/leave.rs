//! Leave to send.

use std::sync::{Mutex, PoisonError};

/// Leave to send. An aborted task runs on to its next await, perhaps on another thread, so the
/// abort alone does not keep a stopped target silent.
#[derive(Debug, Default)]
pub(super) struct Leave {
    is_revoked: Mutex<bool>,
}

impl Leave {
    /// Acts unless the leave was revoked; returns whether it did.
    pub(super) fn act(&self, action: impl FnOnce()) -> bool {
        let is_revoked = self.is_revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_revoked {
            action();
        }
        !*is_revoked
    }

    pub(super) fn revoke(&self) {
        *self.is_revoked.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}
