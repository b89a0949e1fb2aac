//! An array of another daemon in our memory: numbers without types.

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::description::Field;
use crate::datapath::sys;

/// A pinned array map that was made with `BPF_F_MMAPABLE`.
#[derive(Debug)]
pub(super) struct RawArray {
    start: NonNull<AtomicU64>,
    /// 64-bit words of a value.
    stride: usize,
    values: usize,
}

// SAFETY: the memory belongs to the mapping, which moves along; it is used through atomics only.
unsafe impl Send for RawArray {}

impl RawArray {
    /// Opens what is pinned at a path.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let map = sys::open_pin(path)?;
        let shape = Shape::of(map.as_fd())?;
        // An array rounds its values up to 8 bytes.
        let stride = shape.value.div_ceil(8) as usize;
        let values = shape.entries as usize;
        let bytes = NonZeroUsize::new(8 * stride * values)
            .ok_or_else(|| io::Error::other("it has no values"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &map, 0) }?;
        Ok(Self { start: start.cast(), stride, values })
    }

    /// The same values in memory that no kernel reads.
    #[cfg(test)]
    pub(super) fn of_values<T: crate::datapath::Value>(values: &[T]) -> Self {
        use nix::sys::mman::mmap_anonymous;

        let bytes = size_of_val(values);
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let room = NonZeroUsize::new(bytes).expect("values");
        // SAFETY: a new mapping overlaps nothing, and has room for the values, which are plain.
        let start = unsafe {
            let start = mmap_anonymous(None, room, access, MapFlags::MAP_SHARED).expect("memory");
            values.as_ptr().cast::<u8>().copy_to(start.cast().as_ptr(), bytes);
            start
        };
        Self { start: start.cast(), stride: size_of::<T>() / 8, values: values.len() }
    }

    /// Number of values.
    pub(super) const fn len(&self) -> usize {
        self.values
    }

    /// Bytes of a value.
    pub(super) const fn value(&self) -> usize {
        8 * self.stride
    }

    /// A number of a value.
    pub(super) fn read(&self, value: usize, field: Field) -> u64 {
        field.read(|word| self.word(value, word).load(Ordering::Acquire))
    }

    /// Replaces a number of 32 bits.
    pub(super) fn write(&self, value: usize, field: Field, number: u32) {
        let word = self.word(value, field.bit as usize / 64).as_ptr().cast::<u32>();
        let half = (field.bit % 64 / 32) as usize;
        let half = if cfg!(target_endian = "little") { half } else { 1 - half };
        // SAFETY: one half of a word that `word` has found to be in bounds, which is aligned.
        unsafe { AtomicU32::from_ptr(word.add(half)) }.store(number, Ordering::Release);
    }

    /// The bytes of a value.
    pub(super) fn bytes(&self, value: usize) -> Vec<u8> {
        let word = |word| self.word(value, word).load(Ordering::Acquire).to_ne_bytes();
        (0..self.stride).flat_map(word).collect()
    }

    fn word(&self, value: usize, word: usize) -> &AtomicU64 {
        assert!(value < self.values && word < self.stride, "{value}, {word} of {self:?}");
        // SAFETY: in bounds of the mapping, which lives as long as `self`.
        unsafe { self.start.add(value * self.stride + word).as_ref() }
    }
}

impl Drop for RawArray {
    fn drop(&mut self) {
        // SAFETY: unmaps what `open` mapped; no reference outlives `self`. Failure leaves it mapped.
        let _ = unsafe { munmap(self.start.cast(), 8 * self.stride * self.values) };
    }
}

/// What the kernel says about a map.
struct Shape {
    value: u32,
    entries: u32,
}

impl Shape {
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let path = format!("/proc/self/fdinfo/{}", map.as_raw_fd());
        let text = std::fs::read_to_string(path)?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        let missing = || io::Error::other("the kernel does not tell its shape");
        Ok(Self {
            value: number("value_size").ok_or_else(missing)?,
            entries: number("max_entries").ok_or_else(missing)?,
        })
    }
}

/// Entries that fit into a pinned map, and the map.
pub(super) fn open_map(path: &Path) -> io::Result<(OwnedFd, u32)> {
    let map = sys::open_pin(path)?;
    let entries = Shape::of(map.as_fd())?.entries;
    Ok((map, entries))
}
