//! The two variants of a program: for frames in one buffer, and for jumbo frames, which come in
//! several. Only those that an interface needs are loaded.

use aya::{Ebpf, programs::Xdp};

use super::{attach::AttachError, sys};

/// A program's names in its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Takes frames in one buffer.
    pub plain: &'static str,
    /// Takes frames in any number of buffers (`BPF_F_XDP_HAS_FRAGS`).
    pub jumbo: &'static str,
}

/// Which of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// For frames in one buffer.
    Plain,
    /// For jumbo frames.
    Jumbo,
}

/// The largest MTU whose frames fit into one buffer, a page, with the room that drivers want around
/// them. Some drivers' buffers are smaller; they refuse, and get the other variant.
const LARGEST_PLAIN_MTU: u32 = 3498;

impl Program {
    /// Its name in the object.
    #[must_use]
    pub const fn name(self, variant: Variant) -> &'static str {
        match variant {
            Variant::Plain => self.plain,
            Variant::Jumbo => self.jumbo,
        }
    }

    /// Loads the variant, if it is not yet.
    pub(super) fn load(self, ebpf: &mut Ebpf, variant: Variant) -> Result<&mut Xdp, AttachError> {
        let name = self.name(variant);
        let program: &mut Xdp = ebpf
            .program_mut(name)
            .and_then(|found| found.try_into().ok())
            .ok_or(AttachError::NoProgram(name))?;
        if program.fd().is_err() {
            program.load().map_err(Box::new)?;
        }
        Ok(program)
    }
}

impl Variant {
    /// The one that an interface should have, and the one to try if it refuses. Which frames a
    /// driver can take in one buffer, only the driver knows.
    #[must_use]
    pub fn of_interface(name: &str) -> [Self; 2] {
        // An interface that is not there has no MTU; the attempt to attach says so.
        Self::of_mtu(sys::mtu(name).unwrap_or_default())
    }

    const fn of_mtu(mtu: u32) -> [Self; 2] {
        if mtu > LARGEST_PLAIN_MTU {
            [Self::Jumbo, Self::Plain]
        } else {
            [Self::Plain, Self::Jumbo]
        }
    }

    /// Whether it takes jumbo frames.
    #[must_use]
    pub const fn is_jumbo(self) -> bool {
        matches!(self, Self::Jumbo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_decides_what_is_tried_first() {
        assert_eq!(Variant::of_mtu(1500), [Variant::Plain, Variant::Jumbo]);
        assert_eq!(Variant::of_mtu(9000), [Variant::Jumbo, Variant::Plain]);
        assert_eq!(Variant::of_interface("no such if"), [Variant::Plain, Variant::Jumbo]);
        // The loopback of every machine has 65,536 bytes.
        assert_eq!(Variant::of_interface("lo"), [Variant::Jumbo, Variant::Plain]);
    }
}
