//! Whose the pins are: one daemon's at a time, and nobody's after a start that failed.

use std::fs::File;

use nix::fcntl::Flock;

use super::{
    attach,
    pins::{PinError, Pins},
};

/// The right to change the pins. Dropped before the start is complete, it takes what the start has
/// made with it.
pub(super) struct Ownership {
    pins: Pins,
    /// Interfaces that were not attached before.
    attached: Vec<String>,
    is_complete: bool,
    _lock: Flock<File>,
}

impl Ownership {
    /// Makes the directories and locks them. What a start that was killed has left is removed.
    pub(super) fn take(pins: &Pins) -> Result<Self, PinError> {
        pins.prepare()?;
        let lock = pins.lock()?;
        let ownership =
            Self { pins: pins.clone(), attached: Vec::new(), is_complete: false, _lock: lock };
        Pins::remove(&pins.new_maps())?;
        Ok(ownership)
    }

    /// An interface has got the program.
    pub(super) fn attached(&mut self, interface: &str) {
        if !self.is_complete {
            self.attached.push(interface.to_owned());
        }
    }

    /// The start is complete: from now on everything stays.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
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
        if let Err(error) = Pins::remove(&self.pins.new_maps()) {
            tracing::warn!(%error, "still pinned");
        }
        self.pins.remove_empty();
    }
}
