//! What a running process writes, kept in memory.

use std::{fs::File, io, os::unix::fs::FileExt as _, process::Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};

/// A file without a name that a process writes to and the rig reads at any time.
///
/// A pipe would need a reader at all times, and a file in `/tmp` would outlive a killed test.
#[derive(Debug)]
pub(crate) struct Capture(File);

impl Capture {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(memfd_create("output", MFdFlags::MFD_CLOEXEC)?.into()))
    }

    /// The end to give to a process. It may be given several times; all write to one place.
    pub(crate) fn writer(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// What was written from byte `offset` on. Reading does not disturb the writer: their common
    /// position in the file is neither used nor moved.
    pub(crate) fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = self.0.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(length).expect("it fits in memory")];
        self.0.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
