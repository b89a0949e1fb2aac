//! What outlives the daemon, on a BPF file system.
//!
//! ```text
//! PIN_DIR/v2/maps/NAME         the balancer's maps
//! PIN_DIR/links/INTERFACE      the program's attachment to an interface
//! PIN_DIR/decap/…              the tunnel's far end, see `crate::decap`
//! ```
//! The version counts layouts of maps: a daemon with another layout makes its maps beside these, and
//! then updates the same attachments.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// Version of the layout of all maps.
const LAYOUT: &str = "v2";

/// Why the BPF file system cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// No BPF file system is there, and none can be mounted.
    #[error(
        "{directory} is not on a BPF file system and none can be mounted there ({source}): \
         run `mount -t bpf bpf /sys/fs/bpf` as root"
    )]
    NoFileSystem {
        /// The directory for pins.
        directory: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another daemon has them.
    #[error("another lbd uses {directory}: stop it, or set daemon.pin_dir")]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// A file or directory resists.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The directories of pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
    layout: PathBuf,
}

impl Pins {
    /// Pins under `pin_dir`, of this layout.
    #[must_use]
    pub fn new(pin_dir: &Path) -> Self {
        Self { root: pin_dir.to_owned(), layout: pin_dir.join(LAYOUT) }
    }

    /// Makes the directories, readable by nobody else, and mounts the file system if need be.
    pub fn prepare(&self) -> Result<(), PinError> {
        mount_if_missing(&self.root)?;
        self.finish_replacement()?;
        for directory in [self.root.clone(), self.layout.clone(), self.maps(), self.links()] {
            create(&directory)?;
        }
        Ok(())
    }

    /// Whether anything is there.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.root.exists()
    }

    /// Whether an earlier daemon has left tables, of whatever layout.
    #[must_use]
    pub fn has_tables(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.root) else { return false };
        let layouts = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(is_layout));
        layouts.into_iter().any(|layout| {
            fs::read_dir(layout.path().join("maps")).is_ok_and(|mut maps| maps.next().is_some())
        })
    }

    /// Keeps other processes from changing what is pinned, as long as the value lives.
    pub fn lock(&self) -> Result<Flock<File>, PinError> {
        let directory = File::open(&self.root)
            .map_err(|source| PinError::File { path: self.root.clone(), source })?;
        Flock::lock(directory, FlockArg::LockExclusiveNonblock)
            .map_err(|_| PinError::Locked { directory: self.root.clone() })
    }

    /// Directory of the balancer's maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.layout.join("maps")
    }

    /// Directory of maps that are made while others are in use. bpffs refuses names with dots.
    #[must_use]
    pub fn new_maps(&self) -> PathBuf {
        self.layout.join("maps-new")
    }

    /// Puts new maps in the place of the old ones. The attachments have the new ones already: cut
    /// short at any point, [`Pins::finish_replacement`] leaves those.
    pub fn replace_maps(&self) -> Result<(), PinError> {
        let old = self.layout.join("maps-old");
        rename(&self.maps(), &old)?;
        rename(&self.new_maps(), &self.maps())?;
        Self::remove(&old)
    }

    /// Ends a replacement of maps that was cut short.
    pub fn finish_replacement(&self) -> Result<(), PinError> {
        let old = self.layout.join("maps-old");
        if old.is_dir() && !self.maps().is_dir() {
            rename(&self.new_maps(), &self.maps())?;
        }
        Self::remove(&old)
    }

    /// Directory of attachments.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Attachment to an interface.
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        // bpffs refuses names with dots, which VLAN interfaces have.
        self.links().join(interface.replace('.', "%2e"))
    }

    /// Names of the interfaces that have an attachment.
    pub fn attached(&self) -> Result<Vec<String>, PinError> {
        let directory = self.links();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(PinError::File { path: directory, source });
            }
        };
        let names = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|name| name.replace("%2e", "."));
        Ok(names.collect())
    }

    /// Removes a file or a directory with its files, if there is one.
    pub fn remove(path: &Path) -> Result<(), PinError> {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(PinError::File { path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    /// Removes the maps of other layouts, which no attachment uses once all run this one's program.
    pub fn remove_other_layouts(&self) -> Result<(), PinError> {
        let failed = |source| PinError::File { path: self.root.clone(), source };
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name != LAYOUT && is_layout(name)) {
                Self::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes the directories that have nothing in them.
    pub fn remove_empty(&self) {
        for directory in [self.links(), self.maps(), self.layout.clone(), self.root.clone()] {
            // There is something in it if this fails.
            let _ = fs::remove_dir(directory);
        }
    }

    /// Removes attachments and the maps of all layouts, and the directory if nothing else is in it.
    pub fn remove_all(&self) -> Result<(), PinError> {
        Self::remove(&self.links())?;
        Self::remove(&self.layout)?;
        self.remove_other_layouts()?;
        // It holds a tunnel's far end if this fails.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

/// Whether this is the name of a layout's directory.
fn is_layout(name: &str) -> bool {
    let version = name.strip_prefix('v').unwrap_or_default();
    !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
}

fn rename(from: &Path, to: &Path) -> Result<(), PinError> {
    fs::rename(from, to).map_err(|source| PinError::File { path: from.to_owned(), source })
}

/// Makes a directory that only its owner may enter: who opens a pinned map can rewrite it.
pub(crate) fn create(directory: &Path) -> Result<(), PinError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o700)))
        .map_err(|source| PinError::File { path: directory.to_owned(), source })
}

/// Mounts a BPF file system at `/sys/fs/bpf` if the pins are to lie there and there is none.
pub(crate) fn mount_if_missing(root: &Path) -> Result<(), PinError> {
    const USUAL: &str = "/sys/fs/bpf";
    if is_bpf(root) {
        return Ok(());
    }
    let refused = |source| PinError::NoFileSystem { directory: root.to_owned(), source };
    if !root.starts_with(USUAL) {
        return Err(refused(io::Error::other("it is not below /sys/fs/bpf")));
    }
    mount(Some("bpf"), USUAL, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
        .map_err(|errno| refused(errno.into()))
}

/// Whether the nearest directory that exists is on a BPF file system.
fn is_bpf(path: &Path) -> bool {
    path.ancestors()
        .find_map(|ancestor| statfs(ancestor).ok())
        .is_some_and(|status| status.filesystem_type() == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins with maps of three layouts, an attachment and a tunnel's far end.
    fn pins(root: &Path) -> Pins {
        let pins = Pins::new(root);
        for name in ["v1/maps", "v10/maps", "links", "decap/eth0/v2", "vlan"] {
            fs::create_dir_all(root.join(name)).expect("room");
        }
        fs::create_dir_all(pins.maps()).expect("room");
        for path in ["v1/maps/SLOTS", "v10/maps/SLOTS", "links/eth0", "decap/eth0/link"] {
            fs::write(root.join(path), "").expect("room");
        }
        pins
    }

    fn names(root: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.expect("readable").file_name().into_string().expect("a name")
        };
        let mut names: Vec<String> = fs::read_dir(root).expect("a directory").map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn maps_of_other_layouts_go_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        let pins = pins(directory.path());
        assert!(pins.has_tables());
        pins.remove_other_layouts().expect("its own");
        assert!(!pins.has_tables(), "those of this layout are empty");
        assert_eq!(names(directory.path()), ["decap", "links", LAYOUT, "vlan"]);
        assert!(pins.maps().is_dir());
    }

    #[test]
    fn detaching_leaves_what_is_not_the_balancers() {
        let directory = tempfile::tempdir().expect("a directory");
        let pins = pins(directory.path());
        pins.remove_all().expect("its own");
        assert_eq!(names(directory.path()), ["decap", "vlan"]);
        assert!(directory.path().join("decap/eth0/link").exists());
    }
}
