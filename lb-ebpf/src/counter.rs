//! Counting in per-CPU arrays.

/// Adds one to this CPU's counter, if there is one.
#[inline(always)]
pub fn bump(counter: Option<*mut u64>) {
    if let Some(counter) = counter {
        // SAFETY: a pointer from a map look-up, to this CPU's own value.
        unsafe { *counter += 1 };
    }
}
