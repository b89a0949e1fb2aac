//! Maps that count per processor and backend, read of one backend, or of all of them at once.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::{Ebpf, maps::Map};

use super::{map_calls, program::LoadError};

/// A per-CPU array of `N` numbers an entry.
#[derive(Debug)]
pub(super) struct Rows<const N: usize> {
    map: OwnedFd,
    entries: u32,
    processors: usize,
}

impl<const N: usize> Rows<N> {
    /// A map of a loaded object.
    pub(super) fn of(ebpf: &Ebpf, name: &'static str) -> Result<Self, LoadError> {
        let Some(Map::PerCpuArray(map)) = ebpf.map(name) else {
            return Err(LoadError::Missing(name));
        };
        let refused = |source: io::Error| LoadError::Memory { name, source };
        let info = map.info().map_err(|error| refused(io::Error::other(error)))?;
        // The kernel writes as many bytes as the map says.
        if info.value_size() as usize != size_of::<[u64; N]>() {
            return Err(refused(io::Error::other("its entries have another size")));
        }
        let processors = aya::util::nr_cpus().map_err(|(_, source)| refused(source))?;
        let map = map.fd().as_fd().try_clone_to_owned().map_err(refused)?;
        Ok(Self { map, entries: info.max_entries(), processors })
    }

    /// The sums of one entry.
    pub(super) fn get(&self, index: u16) -> io::Result<[u64; N]> {
        let mut rows = vec![[0_u64; N]; self.processors];
        map_calls::get_into(self.map.as_fd(), &u32::from(index), &mut rows)?;
        Ok(sum(&rows))
    }

    /// The sums of all entries: a call of the kernel for every [`CHUNK`] of them. On two processors
    /// this takes some 0.4 us an entry, a call for each of them more than twice that.
    pub(super) fn all(&self) -> io::Result<Vec<[u64; N]>> {
        let mut all = Vec::with_capacity(self.entries as usize);
        let mut keys = vec![0_u32; CHUNK];
        let mut rows = vec![[0_u64; N]; CHUNK * self.processors];
        let mut begin = None;
        loop {
            let (count, next) = map_calls::walk(self.map.as_fd(), begin, &mut keys, &mut rows)?;
            all.extend(rows.chunks_exact(self.processors).take(count).map(sum));
            match next {
                // An array counts its entries, so the last of them may end a call that is full.
                Some(last) if all.len() < self.entries as usize => begin = Some(last),
                _ => return Ok(all),
            }
        }
    }

    /// Starts an entry anew.
    pub(super) fn clear(&self, index: u16) -> io::Result<()> {
        let rows = vec![[0_u64; N]; self.processors];
        map_calls::set_from(self.map.as_fd(), &u32::from(index), &rows)
    }
}

/// Entries that one call reads: 1,024 of them on 16 processors are 768 KiB, of six numbers each.
const CHUNK: usize = 1024;

/// What all processors have counted together.
fn sum<const N: usize>(rows: &[[u64; N]]) -> [u64; N] {
    let mut sums = [0_u64; N];
    for row in rows {
        sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
    }
    sums
}
