//! Calls of `bpf(2)` on hash maps whose values packets change, among them the walk over many
//! entries at once, which aya does not offer.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

/// Commands of `enum bpf_cmd` in the kernel's `include/uapi/linux/bpf.h`.
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// The part of `union bpf_attr` for one entry.
#[repr(C)]
struct Entry {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for many.
#[repr(C)]
struct Batch {
    begin: u64,
    end: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    entry_flags: u64,
    flags: u64,
}

/// The value of a key, written over `value`. Both types are those of the map, plain and of the
/// same size.
pub(super) fn get<K, V>(map: BorrowedFd<'_>, key: &K, mut value: V) -> io::Result<Option<V>> {
    let mut attributes = Entry {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: &raw mut value as u64,
        flags: 0,
    };
    match call(BPF_MAP_LOOKUP_ELEM, &mut attributes) {
        Ok(()) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives a key a value, whether it has one or not. Both types are those of the map, plain and of the
/// same size.
pub(super) fn set<K, V>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attributes = Entry {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: std::ptr::from_ref(value) as u64,
        flags: 0,
    };
    call(BPF_MAP_UPDATE_ELEM, &mut attributes)
}

/// The value of a key of a map that has one a processor, written over `values`, which has that many.
/// Both types are those of the map and plain, and the value's size a multiple of 8 bytes.
pub(super) fn get_into<K, V>(map: BorrowedFd<'_>, key: &K, values: &mut [V]) -> io::Result<()> {
    let mut attributes = Entry {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: values.as_mut_ptr() as u64,
        flags: 0,
    };
    call(BPF_MAP_LOOKUP_ELEM, &mut attributes)
}

/// Gives a key of such a map a value for each processor; see [`get_into`].
pub(super) fn set_from<K, V>(map: BorrowedFd<'_>, key: &K, values: &[V]) -> io::Result<()> {
    let mut attributes = Entry {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: values.as_ptr() as u64,
        flags: 0,
    };
    call(BPF_MAP_UPDATE_ELEM, &mut attributes)
}

/// Removes a key; one that is not there is removed.
pub(super) fn remove<K>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let mut attributes = Entry {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: 0,
        flags: 0,
    };
    match call(BPF_MAP_DELETE_ELEM, &mut attributes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads entries from a bucket on. Returns how many there are, and the bucket after them; `None`
/// if that was the last. `ENOSPC` is a bucket with more entries than there is room.
pub(super) fn walk<K, V>(
    map: BorrowedFd<'_>,
    begin: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, Option<u32>)> {
    let mut end = 0_u32;
    let mut attributes = Batch {
        begin: begin.as_ref().map_or(0, |bucket| std::ptr::from_ref(bucket) as u64),
        end: &raw mut end as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: keys.len().min(values.len()) as u32,
        map: map.as_raw_fd().cast_unsigned(),
        entry_flags: 0,
        flags: 0,
    };
    match call(BPF_MAP_LOOKUP_BATCH, &mut attributes) {
        Ok(()) => Ok((attributes.count as usize, Some(end))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok((attributes.count as usize, None))
        }
        Err(error) => Err(error),
    }
}

fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<()> {
    // SAFETY: the kernel reads and writes as many bytes of the attributes as it is told that there
    // are. What they point to is alive and borrowed by the callers, and as large as the map's keys
    // and values are, of which the callers have the types.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
