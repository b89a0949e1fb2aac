//! An initramfs as Linux unpacks it: cpio's "newc" format, which
//! Documentation/driver-api/early-userspace/buffer-format.rst of Linux describes.

use std::{collections::BTreeSet, path::Path};

/// Files and directories that root owns, in the order in which they were added.
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0, directories: BTreeSet::new() }
    }

    /// Adds a directory, given by its absolute path, and those above it.
    pub(super) fn directory(&mut self, path: &str) {
        let above: Vec<_> = Path::new(path).ancestors().collect();
        for directory in above.into_iter().rev() {
            let name = directory.to_string_lossy().trim_start_matches('/').to_owned();
            if !name.is_empty() && self.directories.insert(name.clone()) {
                self.entry(&name, DIRECTORY, &[]);
            }
        }
    }

    /// Adds a file that may be executed, given by its absolute path.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        if let Some(parent) = Path::new(path).parent() {
            self.directory(&parent.to_string_lossy());
        }
        self.entry(path.trim_start_matches('/'), FILE, content);
    }

    /// The archive as the boot loader passes it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("files of programs are below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("paths are short");
        // Inode, mode, owner, group, links, time, size, four numbers of devices, length of the
        // name, checksum.
        let links = 1;
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let mut archive = Archive::new();
        archive.file("/usr/bin/a", b"12345");
        archive.file("/usr/bin/b", b"");
        let bytes = archive.finish();
        let names: Vec<_> = entries(&bytes).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/a", "usr/bin/b", "TRAILER!!!"]);
    }

    #[test]
    fn contents_are_found_behind_names_of_any_length() {
        for name in ["/a", "/ab", "/abc", "/abcd"] {
            let mut archive = Archive::new();
            archive.file(name, b"content");
            let bytes = archive.finish();
            assert_eq!(entries(&bytes)[0], (name[1..].to_owned(), b"content".to_vec()));
        }
    }

    /// Reads an archive as the kernel does.
    fn entries(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[6 + index * 8..][..8]).expect("digits");
                usize::from_str_radix(text, 16).expect("a number")
            };
            let (size, name_size) = (field(6), field(11));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).expect("text");
            let start = (110 + name_size).next_multiple_of(4);
            entries.push((name, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
        entries
    }
}
