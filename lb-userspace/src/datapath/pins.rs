//! What outlives the daemon, on a BPF file system.
//!
//! ```text
//! PIN_DIR/v3/maps/NAME         the balancer's maps
//! PIN_DIR/links/INTERFACE      the program's attachment to an interface
//! PIN_DIR/decap/…              the tunnel's far end, see `crate::decap`
//! ```
//! The version counts layouts of maps: a daemon with another layout makes its maps beside these, and
//! then updates the same attachments.
//!
//! New maps are made in `maps-new`. Before the first interface uses them they take the place `maps`,
//! and those that they replace the place `maps-old`, where they stay until the last interface has
//! left them. So a start that is cut short leaves everything that packets use where the next one
//! finds it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::locks::{self, Holder};
use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sys::statfs::{BPF_FS_MAGIC, statfs},
};

/// Version of the layout of all maps.
const LAYOUT: &str = lb_common::layout::VERSION;
const MAPS: &str = "maps";
const NEW: &str = "maps-new";
const OLD: &str = "maps-old";

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
    #[error("another lbd{} uses {directory}: stop it, or set daemon.pin_dir", locks::named(.holder.as_ref()))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// Who has it, as far as the kernel tells.
        holder: Option<Holder>,
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

    /// Makes the directory that others are made in, readable by nobody else, and mounts the file
    /// system if need be.
    pub fn prepare(&self) -> Result<(), PinError> {
        mount_if_missing(&self.root)?;
        create(&self.root)
    }

    /// Makes the other directories, once they are ours to change. Maps that a start was making when
    /// it was cut short go: no packet uses them.
    pub fn recover(&self) -> Result<(), PinError> {
        for directory in [&self.layout, &self.links()] {
            create(directory)?;
        }
        Self::remove(&self.new_maps())?;
        if !self.maps().is_dir() {
            self.restore_old_maps()?;
        }
        create(&self.maps())
    }

    /// Whether anything is there.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.root.exists()
    }

    /// Directories with the maps of earlier daemons, of whatever layout.
    #[must_use]
    pub fn sets_of_maps(&self) -> Vec<PathBuf> {
        let layouts = entries(&self.root).filter(|path| name(path).is_some_and(is_layout));
        layouts
            .flat_map(|layout| entries(&layout).collect::<Vec<_>>())
            .filter(|maps| name(maps).is_some_and(|name| name == MAPS || name.starts_with(OLD)))
            .filter(|maps| entries(maps).next().is_some())
            .collect()
    }

    /// Keeps other processes from changing what is pinned, as long as the value lives.
    pub fn lock(&self) -> Result<Flock<File>, PinError> {
        let directory = File::open(&self.root)
            .map_err(|source| PinError::File { path: self.root.clone(), source })?;
        Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(directory, _)| {
            PinError::Locked { directory: self.root.clone(), holder: Holder::of(&directory) }
        })
    }

    /// Directory of the balancer's maps.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.layout.join(MAPS)
    }

    /// Directory of maps that are made while others are in use. bpffs refuses names with dots.
    #[must_use]
    pub fn new_maps(&self) -> PathBuf {
        self.layout.join(NEW)
    }

    /// Directory of maps that others have taken the place of: of the last ones, and of those that
    /// starts before have not come to remove.
    fn old_maps(&self, number: u32) -> PathBuf {
        self.layout.join(if number == 0 { OLD.to_owned() } else { format!("{OLD}-{number}") })
    }

    /// Puts new maps in the place of the old ones, which stay beside them.
    pub fn put_in_force(&self) -> Result<(), PinError> {
        if fs::remove_dir(self.maps()).is_err() {
            let free = (0..).map(|number| self.old_maps(number)).find(|old| !old.exists());
            rename(&self.maps(), &free.expect("one of four thousand million names is free"))?;
        }
        rename(&self.new_maps(), &self.maps())
    }

    /// Takes new maps out of the place of old ones again: no packet has used them.
    pub fn take_out_of_force(&self) -> Result<(), PinError> {
        Self::remove(&self.maps())?;
        self.restore_old_maps()
    }

    fn restore_old_maps(&self) -> Result<(), PinError> {
        let last = (0..).map(|number| self.old_maps(number)).take_while(|old| old.exists()).last();
        last.map_or(Ok(()), |old| rename(&old, &self.maps()))
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

    /// Removes maps that no attachment uses once all run the program with those in force.
    pub fn remove_other_maps(&self) -> Result<(), PinError> {
        for maps in self.sets_of_maps().iter().filter(|maps| **maps != self.maps()) {
            Self::remove(maps)?;
        }
        self.remove_other_layouts()
    }

    fn remove_other_layouts(&self) -> Result<(), PinError> {
        let is_other =
            |path: &PathBuf| name(path).is_some_and(|name| name != LAYOUT && is_layout(name));
        entries(&self.root).filter(is_other).try_for_each(|other| Self::remove(&other))
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

/// What is in a directory, if it is one.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
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

    fn make(root: &Path, maps: &str) {
        fs::create_dir_all(root.join(maps)).expect("room");
        fs::write(root.join(maps).join("SLOTS"), maps).expect("room");
    }

    /// Where the maps are that were made in each of these places.
    fn places(root: &Path) -> Vec<(String, String)> {
        let pins = Pins::new(root);
        let place = |maps: PathBuf| {
            let made = fs::read_to_string(maps.join("SLOTS")).expect("made");
            let place = maps.strip_prefix(root).expect("below").display().to_string();
            (place.replace(LAYOUT, "own"), made.replace(LAYOUT, "own"))
        };
        let mut places: Vec<_> = pins.sets_of_maps().into_iter().map(place).collect();
        places.sort();
        places
    }

    fn pair(place: &str, made: &str) -> (String, String) {
        (place.to_owned(), made.to_owned())
    }

    #[test]
    fn maps_stay_beside_those_that_take_their_place_until_these_are_used() {
        let directory = tempfile::tempdir().expect("a directory");
        let (root, pins) = (directory.path(), Pins::new(directory.path()));
        pins.recover().expect("its own");
        let new = format!("{LAYOUT}/maps-new");
        make(root, "v1/maps");
        make(root, &new);
        assert_eq!(places(root), [pair("v1/maps", "v1/maps")], "new ones are nobody's yet");
        pins.put_in_force().expect("its own");
        let (first, former) = (pair("own/maps", "own/maps-new"), pair("v1/maps", "v1/maps"));
        assert_eq!(places(root), [first, former.clone()]);

        // Others take their place, once more and for good.
        make(root, &new);
        pins.put_in_force().expect("its own");
        let olds = [pair("own/maps", "own/maps-new"), pair("own/maps-old", "own/maps-new"), former];
        assert_eq!(places(root), olds);
        pins.take_out_of_force().expect("its own");
        assert_eq!(places(root).len(), 2);
        pins.remove_other_maps().expect("its own");
        assert_eq!(places(root), [pair("own/maps", "own/maps-new")]);
    }

    #[test]
    fn a_start_that_was_cut_short_is_undone() {
        let directory = tempfile::tempdir().expect("a directory");
        let (root, pins) = (directory.path(), Pins::new(directory.path()));
        // Between the two steps of taking the place.
        make(root, &format!("{LAYOUT}/maps-old"));
        make(root, &format!("{LAYOUT}/maps-new"));
        pins.recover().expect("its own");
        assert_eq!(places(root), [pair("own/maps", "own/maps-old")]);
        assert!(!pins.new_maps().exists());
    }

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
        assert_eq!(pins.sets_of_maps().len(), 2, "those of this layout are empty");
        pins.remove_other_maps().expect("its own");
        assert!(pins.sets_of_maps().is_empty());
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
