//! `TRANSLATIONS` as the daemon reads it: packets add entries, the daemon removes those of flows
//! that are over.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{Ebpf, maps::Map};
use lb_common::nat::{Translation, Tuple};

use super::{map_calls, program::LoadError};

/// The map of translated flows, two entries a flow.
#[derive(Debug)]
pub struct Translations {
    map: OwnedFd,
    entries: u32,
}

/// Where a walk over all entries goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cursor {
    /// At the first.
    #[default]
    Start,
    /// At a bucket of the kernel's hash table.
    Bucket(u32),
    /// Nowhere: it is over.
    End,
}

impl Translations {
    const NAME: &str = "TRANSLATIONS";

    /// The map of a loaded object.
    pub fn of(ebpf: &Ebpf) -> Result<Self, LoadError> {
        let Some(Map::HashMap(map)) = ebpf.map(Self::NAME) else {
            return Err(LoadError::Missing(Self::NAME));
        };
        let refused = |source: io::Error| LoadError::Memory { name: Self::NAME, source };
        let entries = map.info().map_err(|error| refused(io::Error::other(error)))?.max_entries();
        Ok(Self { map: map.fd().as_fd().try_clone_to_owned().map_err(refused)?, entries })
    }

    /// A map of translated flows with so many entries.
    pub(super) const fn of_map(map: OwnedFd, entries: u32) -> Self {
        Self { map, entries }
    }

    /// Flows that fit.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        self.entries / 2
    }

    /// The entry of a tuple.
    pub fn get(&self, tuple: &Tuple) -> io::Result<Option<Translation>> {
        map_calls::get(self.map.as_fd(), tuple, Translation::default())
    }

    /// Adds an entry, or replaces the one that is there.
    pub(super) fn insert(&self, tuple: &Tuple, entry: &Translation) -> io::Result<()> {
        map_calls::set(self.map.as_fd(), tuple, entry)
    }

    /// Removes an entry, if it is there.
    pub fn remove(&self, tuple: &Tuple) -> io::Result<()> {
        map_calls::remove(self.map.as_fd(), tuple)
    }

    /// The next entries of a walk, which takes in all that stay for as long as it takes.
    pub fn walk(&self, cursor: &mut Cursor) -> io::Result<Vec<(Tuple, Translation)>> {
        /// Entries of one call; a bucket with more is asked for again with room for more.
        const MANY: usize = 4096;

        let mut room = MANY;
        loop {
            let begin = match *cursor {
                Cursor::Start => None,
                Cursor::Bucket(bucket) => Some(bucket),
                Cursor::End => return Ok(Vec::new()),
            };
            let mut keys = vec![Tuple::default(); room];
            let mut values: Vec<Translation> = Vec::new();
            values.resize_with(room, Translation::default);
            match map_calls::walk(self.map.as_fd(), begin, &mut keys, &mut values) {
                Ok((count, next)) => {
                    *cursor = next.map_or(Cursor::End, Cursor::Bucket);
                    return Ok(keys.into_iter().zip(values).take(count).collect());
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => room *= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Every entry.
    pub fn all(&self) -> io::Result<Vec<(Tuple, Translation)>> {
        let (mut cursor, mut all) = (Cursor::Start, Vec::new());
        while cursor != Cursor::End {
            all.extend(self.walk(&mut cursor)?);
        }
        Ok(all)
    }
}
