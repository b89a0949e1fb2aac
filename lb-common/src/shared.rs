//! Words that the daemon writes while packets read them.
//!
//! On the host these are the standard atomics. Rust's BPF target has no narrow ones, so in the
//! kernel they are volatile accesses, each one instruction: an aligned load or store does not
//! tear there. Ordering is the writer's business: it publishes last, and readers follow what was
//! published.

#[cfg(not(target_arch = "bpf"))]
macro_rules! shared {
    ($($(#[$doc:meta])* $name:ident($word:ty, $atomic:ident);)+) => { $(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub struct $name(core::sync::atomic::$atomic);

        impl $name {
            /// A word with this value.
            #[must_use]
            pub const fn new(word: $word) -> Self {
                Self(core::sync::atomic::$atomic::new(word))
            }

            /// The value now.
            #[inline(always)]
            #[must_use]
            pub fn load(&self) -> $word {
                self.0.load(core::sync::atomic::Ordering::Acquire)
            }

            /// Replaces the value; what was stored before is visible to whoever sees it.
            #[inline(always)]
            pub fn store(&self, word: $word) {
                self.0.store(word, core::sync::atomic::Ordering::Release);
            }
        }
    )+ };
}

#[cfg(target_arch = "bpf")]
macro_rules! shared {
    ($($(#[$doc:meta])* $name:ident($word:ty, $atomic:ident);)+) => { $(
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Debug, Default)]
        pub struct $name(core::cell::UnsafeCell<$word>);

        // SAFETY: every access is one volatile load or store of an aligned word.
        unsafe impl Sync for $name {}

        impl $name {
            /// A word with this value.
            #[must_use]
            pub const fn new(word: $word) -> Self {
                Self(core::cell::UnsafeCell::new(word))
            }

            /// The value now.
            #[inline(always)]
            #[must_use]
            pub fn load(&self) -> $word {
                // SAFETY: the pointer is valid and aligned as long as `self` is.
                unsafe { self.0.get().read_volatile() }
            }

            /// Replaces the value.
            #[inline(always)]
            pub fn store(&self, word: $word) {
                // SAFETY: as in `load`; readers take either value.
                unsafe { self.0.get().write_volatile(word) };
            }
        }
    )+ };
}

shared! {
    /// A shared 16-bit word.
    SharedU16(u16, AtomicU16);
    /// A shared 32-bit word.
    SharedU32(u32, AtomicU32);
    /// A shared 64-bit word.
    SharedU64(u64, AtomicU64);
}
