//! Memory that the start has needed and what follows does not.

/// Gives free memory back to the kernel: an object of the size of ours, taken apart to be loaded,
/// leaves several MiB behind that nobody will ask for again.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only returns free memory; allocations are untouched. See malloc_trim(3).
    unsafe {
        libc::malloc_trim(0);
    }
}
