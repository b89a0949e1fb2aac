//! `LAYOUT`: what lies where in the maps beside it.
//!
//! A daemon of the version before or after reads it, so that flows are carried over to maps of
//! another layout. The feature `next-layout` builds that next version: its values differ just
//! enough that a daemon which took them for its own would break every flow. It is never shipped.

/// Version of the layout of all maps, which is part of where they are pinned.
pub const VERSION: &str = if cfg!(feature = "next-layout") { "v4" } else { "v3" };

/// Bytes of a value of `BACKENDS`.
pub(crate) const BACKEND_BYTES: usize = if cfg!(feature = "next-layout") { 128 } else { 64 };

/// By how many bits the word of a remembered flow is turned in memory.
const FLOW_TURN: u32 = if cfg!(feature = "next-layout") { 16 } else { 0 };

/// The word of a remembered flow as it lies in memory.
#[inline(always)]
pub(crate) const fn flow_in_memory(word: u64) -> u64 {
    word.rotate_left(FLOW_TURN)
}

/// The reverse of [`flow_in_memory`].
#[inline(always)]
pub(crate) const fn flow_of_memory(word: u64) -> u64 {
    word.rotate_right(FLOW_TURN)
}

/// The one value of `LAYOUT`, which packets do not read: text, with zeros behind it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    words: [u64; Self::BYTES / 8],
}

impl Layout {
    /// Bytes of a text at most.
    pub const BYTES: usize = 8192;

    /// The value with this text; `None` if it is too long.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let mut words = [0; Self::BYTES / 8];
        for (index, byte) in text.bytes().enumerate() {
            let word = words.get_mut(index / 8)?;
            let mut bytes = u64::to_ne_bytes(*word);
            bytes[index % 8] = byte;
            *word = u64::from_ne_bytes(bytes);
        }
        Some(Self { words })
    }
}
