//! Where far ends are pinned.
//!
//! ```text
//! PIN_DIR/decap/INTERFACE/link       the program's attachment
//! PIN_DIR/decap/INTERFACE/v2/NAME    its maps
//! ```
//! The version counts layouts of the maps. One of another layout keeps its attachment, which gets
//! new maps with the program.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use lb_common::{
    DecapVerdict,
    decap::{LocalAddress, MAX_ADDRESSES, MAX_SOURCES, SourcePrefix},
};

use super::{ADDRESSES, GUE_PORT, SECOND_CHANCE, SOURCES, VERDICTS};
use crate::datapath::pins::{self, PinError, Pins};

const ROOT: &str = "decap";
const LAYOUT: &str = "v2";
/// Where earlier versions pinned both attachment and maps.
const FORMER: &str = "decap-v1";

/// The place of one interface's far end.
pub(super) struct Place {
    directory: PathBuf,
    former: PathBuf,
}

impl Place {
    /// Where it is, or would be.
    pub(super) fn new(pin_dir: &Path, interface: &str) -> Self {
        // bpffs refuses names with dots, which VLAN interfaces have.
        let name = interface.replace('.', "%2e");
        Self { directory: pin_dir.join(ROOT).join(&name), former: pin_dir.join(FORMER).join(name) }
    }

    /// The interfaces that have one, of this layout or the former.
    pub(super) fn interfaces(pin_dir: &Path) -> Result<Vec<String>, PinError> {
        let mut names = Vec::new();
        for root in [ROOT, FORMER].map(|root| pin_dir.join(root)) {
            let failed = |source| PinError::File { path: root.clone(), source };
            let entries = match fs::read_dir(&root) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                // A name that is no text is not from here.
                let name = entry.map_err(failed)?.file_name().into_string().ok();
                names.extend(name.map(|name| name.replace("%2e", ".")));
            }
        }
        Ok(names)
    }

    /// Whether it is there; who may not look cannot say that it is not.
    pub(super) fn exists(&self) -> Result<bool, PinError> {
        let is_there = |path: &Path| {
            path.try_exists().map_err(|source| PinError::File { path: path.to_owned(), source })
        };
        Ok(is_there(&self.directory)? || is_there(&self.former)?)
    }

    /// Makes the directory, and moves what an earlier version has attached into it.
    pub(super) fn prepare(&self) -> Result<(), PinError> {
        pins::mount_if_missing(&self.directory)?;
        pins::create(&self.directory)?;
        self.take_over()
    }

    /// Moves the attachment of an earlier version here. Its maps stay with its program.
    fn take_over(&self) -> Result<(), PinError> {
        let link = self.former.join("link");
        match fs::rename(&link, self.link()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PinError::File { path: link, source });
            }
            _ => {}
        }
        Pins::remove(&self.former)?;
        remove_empty_above(&self.former);
        Ok(())
    }

    /// The attachment.
    pub(super) fn link(&self) -> PathBuf {
        self.directory.join("link")
    }

    /// The maps.
    pub(super) fn maps(&self) -> PathBuf {
        self.directory.join(LAYOUT)
    }

    /// Maps that are made while others are in use.
    pub(super) fn new_maps(&self) -> PathBuf {
        self.directory.join(format!("{LAYOUT}-new"))
    }

    /// Whether the maps are all there and of the present shape: aya uses a pinned map again without
    /// a look at it.
    pub(super) fn has_compatible_maps(&self) -> bool {
        let maps = self.maps();
        SHAPES.iter().all(|(name, shape)| {
            MapInfo::from_pin(maps.join(name)).is_ok_and(|info| {
                (info.key_size(), info.value_size(), info.max_entries()) == *shape
            })
        })
    }

    /// Puts new maps, which the attachment has already, in the place of the old ones. Cut short, the
    /// next attachment makes new ones again.
    pub(super) fn replace_maps(&self) -> Result<(), PinError> {
        Pins::remove(&self.maps())?;
        let new = self.new_maps();
        fs::rename(&new, self.maps()).map_err(|source| PinError::File { path: new, source })
    }

    /// Removes it, and the directories above if nothing else is in there.
    pub(super) fn remove(&self) -> Result<(), PinError> {
        Pins::remove(&self.directory)?;
        remove_empty_above(&self.directory);
        Ok(())
    }
}

fn remove_empty_above(directory: &Path) {
    for directory in directory.ancestors().skip(1).take(2) {
        // Other far ends, or a balancer, are there if this fails.
        let _ = fs::remove_dir(directory);
    }
}

/// Bytes of key and value, and number of entries of each map.
const SHAPES: [(&str, (u32, u32, u32)); 5] = [
    // The key of a trie begins with its length in bits.
    (SOURCES, (4 + size_of::<SourcePrefix>() as u32, 4, MAX_SOURCES as u32)),
    (ADDRESSES, (size_of::<LocalAddress>() as u32, 4, MAX_ADDRESSES as u32)),
    (GUE_PORT, (4, 4, 1)),
    (SECOND_CHANCE, (4, 4, 1)),
    (VERDICTS, (4, 8, DecapVerdict::COUNT as u32)),
];
