//! Tables and frames as bytes: what the fuzzer searches through, and what is kept of it.
//!
//! An [`Entry`] says what the tables are and which frames come. The fuzzer runs entries on the
//! host, where it sees which code they reach; the ones that reach something new are kept in
//! `tests/corpus` and run in the kernel and on the host ever after.

mod encoded;
mod entry;
mod host;
mod mutation;
mod seeds;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

pub use self::{entry::Entry, host::HostWorlds, mutation::change, seeds::seeds};
use super::{Prefix, random::desired::BACKEND_SOURCES};

/// The load balancers of which the far end opens tunnels: those of every entry's tables.
#[must_use]
pub fn far_end_sources() -> [Prefix; 2] {
    BACKEND_SOURCES.map(|source| match parsed(source) {
        source @ IpAddr::V4(_) => Prefix(source, 32),
        source @ IpAddr::V6(_) => Prefix(source, 128),
    })
}

/// The addresses of the far end's machine: it is every backend at once.
#[must_use]
pub fn far_end_addresses() -> Vec<IpAddr> {
    super::random::desired::backends().map(Into::into).collect()
}

/// The addresses at which tunnelled packets may be aimed.
#[must_use]
pub fn far_end_targets() -> Vec<IpAddr> {
    super::random::desired::VIPS.map(parsed).to_vec()
}

/// The files of a folder, or a file alone, in the order of their names.
///
/// # Errors
/// If one cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<(PathBuf, Entry)>> {
    let mut files: Vec<PathBuf> = if path.is_dir() {
        let files: io::Result<Vec<_>> = fs::read_dir(path)?.collect();
        files?.iter().map(fs::DirEntry::path).collect()
    } else {
        vec![path.to_owned()]
    };
    files.sort();
    files.into_iter().map(|path| Ok((path.clone(), Entry::decode(&fs::read(path)?)))).collect()
}

fn parsed(address: &str) -> IpAddr {
    address.parse().expect("an address")
}
