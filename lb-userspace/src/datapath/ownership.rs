//! Whose the pins are: one daemon's at a time, and nobody's after a start that failed.

use std::fs::File;

use nix::fcntl::Flock;

use super::{
    attach,
    pins::{PinError, Pins},
};

/// The right to change the pins. Dropped before the start is complete, it takes what the start has
/// made with it, unless packets use it.
pub(super) struct Ownership {
    pins: Pins,
    /// Interfaces that were not attached before.
    attached: Vec<String>,
    maps: Maps,
    is_complete: bool,
    _lock: Flock<File>,
}

/// What has become of new maps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maps {
    /// There are none in the place of others.
    Unchanged,
    /// They have the place, but no packet uses them.
    InPlace,
    /// An interface that went on from another program uses them.
    InUse,
}

impl Ownership {
    /// Makes the directories and locks them. What a start that was killed has left is removed.
    pub(super) fn take(pins: &Pins) -> Result<Self, PinError> {
        pins.prepare()?;
        let lock = pins.lock()?;
        let ownership = Self {
            pins: pins.clone(),
            attached: Vec::new(),
            maps: Maps::Unchanged,
            is_complete: false,
            _lock: lock,
        };
        pins.recover()?;
        Ok(ownership)
    }

    /// Puts new maps in the place of others.
    pub(super) fn put_in_force(&mut self) -> Result<(), PinError> {
        self.pins.put_in_force()?;
        self.maps = Maps::InPlace;
        Ok(())
    }

    /// An interface has got the program.
    pub(super) fn attached(&mut self, interface: &str) {
        if !self.is_complete {
            self.attached.push(interface.to_owned());
        }
    }

    /// An interface that had a program goes on with the new one.
    pub(super) fn updated(&mut self) {
        if self.maps == Maps::InPlace {
            self.maps = Maps::InUse;
        }
    }

    /// The start is complete: from now on everything stays.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    fn undo(&self) -> Result<(), PinError> {
        Pins::remove(&self.pins.new_maps())?;
        match self.maps {
            // The next start finds both and goes on from here.
            Maps::Unchanged | Maps::InUse => Ok(()),
            Maps::InPlace => self.pins.take_out_of_force(),
        }
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if self.is_complete {
            return;
        }
        for interface in &self.attached {
            if let Err(error) = attach::release(interface, &self.pins.link(interface)) {
                tracing::warn!(interface, %error, "still attached");
            }
        }
        if let Err(error) = self.undo() {
            tracing::warn!(%error, "still pinned");
        }
        self.pins.remove_empty();
    }
}
