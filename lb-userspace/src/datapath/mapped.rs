//! Memory shared with the kernel's arrays.

use std::{io, marker::PhantomData, ops::Deref, os::fd::BorrowedFd, ptr::NonNull};

use lb_common::{
    Backend, FlowSet, Policy, Service, Settings, SlotLine,
    bench::Bench,
    bucket::{Bucket, SourceBuckets},
    layout::Layout,
    load::{Load, Rotation},
    ranges::RangeLine,
};

/// A value of a mapped array.
///
/// # Safety
///
/// The type must be valid for every bit pattern, have a size that is a multiple of 8 (an array
/// rounds values up to that) and change under a shared reference only through atomics, except in
/// entries that nobody reads yet.
pub unsafe trait Value {}

// SAFETY: numbers; only the table changes in use, which is atomic.
unsafe impl Value for Service {}
// SAFETY: atomics only.
unsafe impl Value for SlotLine {}
// SAFETY: numbers; what changes in use is atomic.
unsafe impl Value for Backend {}
// SAFETY: atomics only.
unsafe impl Value for FlowSet {}
// SAFETY: numbers; written before any service is published, except for one word, see `Tables`.
unsafe impl Value for Settings {}
// SAFETY: numbers, which do not change while a table names them.
unsafe impl Value for Policy {}
// SAFETY: atomics only.
unsafe impl Value for RangeLine {}
// SAFETY: one atomic.
unsafe impl Value for Bucket {}
// SAFETY: atomics only.
unsafe impl Value for SourceBuckets {}
// SAFETY: atomics only.
unsafe impl Value for Load {}
// SAFETY: one atomic.
unsafe impl Value for Rotation {}
// SAFETY: numbers, which no packet reads.
unsafe impl Value for Layout {}
// SAFETY: numbers; read after the run that changes them.
unsafe impl Value for Bench {}

/// All values of an array map as a slice, or the same in plain memory for tests.
#[derive(Debug)]
pub struct Mapped<T: Value> {
    start: NonNull<T>,
    len: usize,
    _values: PhantomData<T>,
}

// SAFETY: the memory belongs to the mapping, which moves along; see `Value` for sharing.
unsafe impl<T: Value + Send> Send for Mapped<T> {}

impl<T: Value> Mapped<T> {
    /// Maps an array map that was made with `BPF_F_MMAPABLE` and has `len` values.
    pub fn of_map(map: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::map(Some(map), len)
    }

    /// Zeroed memory that no kernel reads.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        Self::map(None, len)
    }

    fn map(map: Option<BorrowedFd<'_>>, len: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8) && align_of::<T>() <= 4096) };
        let bytes = std::num::NonZeroUsize::new(len * size_of::<T>())
            .ok_or_else(|| io::Error::other("an array without values cannot be mapped"))?;
        let access = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
        let shared = nix::sys::mman::MapFlags::MAP_SHARED;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            match map {
                Some(map) => nix::sys::mman::mmap(None, bytes, access, shared, map, 0),
                None => nix::sys::mman::mmap_anonymous(None, bytes, access, shared),
            }
        }?;
        Ok(Self { start: start.cast(), len, _values: PhantomData })
    }

    /// Replaces a value that nobody reads.
    pub fn replace(&mut self, index: usize, value: T) {
        assert!(index < self.len, "{index} of {} values", self.len);
        // SAFETY: in bounds, and the caller's table says that no reader has the index.
        unsafe { self.start.add(index).write_volatile(value) };
    }
}

impl<T: Value> Deref for Mapped<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping has `len` values, each valid for every bit pattern.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Value> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: unmaps what `map` mapped; no reference outlives `self`. Failure leaves it mapped.
        let _ = unsafe { nix::sys::mman::munmap(self.start.cast(), self.len * size_of::<T>()) };
    }
}
