//! The program's attachment to interfaces: made once, pinned, and from then on only updated.

use std::{io, os::fd::AsFd as _, path::Path};

use aya::{
    Ebpf,
    programs::{
        ProgramError, Xdp, XdpMode as AyaMode,
        links::{FdLink, LinkError, PinnedLink},
        xdp::{XdpLink, XdpLinkId},
    },
};
use nix::{errno::Errno, net::if_::if_indextoname};

use super::{
    foreign::{self, Foreign, Occupants},
    pins::Pins,
    sys,
    variant::{Program, Variant},
};
use crate::config::XdpMode;

/// Why a program is not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is no such interface.
    #[error("there is no interface `{0}`: see `ip link`")]
    NoInterface(String),
    /// The object has no such program.
    #[error("program {0} is missing from the object: this build of lb is broken")]
    NoProgram(&'static str),
    /// The kernel's verifier refused the program.
    #[error("the kernel refused the XDP program: {0}")]
    Unverified(#[from] Box<ProgramError>),
    /// Somebody else's program is there.
    #[error(
        "interface `{interface}` has another XDP program{}: if it is lb's own, \
         `lbctl detach` or `lbctl decap detach {interface}` removes it; another's is its owner's to \
         remove",
        foreign::named(.program.as_ref())
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program, as far as the kernel tells.
        program: Option<Foreign>,
    },
    /// The interface takes no program.
    #[error("interface `{interface}` refuses the XDP program in {mode} mode: {source}{hint}")]
    Refused {
        /// Its name.
        interface: String,
        /// Which mode.
        mode: &'static str,
        /// What the kernel said.
        source: Box<ProgramError>,
        /// What may help.
        hint: &'static str,
    },
    /// The attachment cannot be kept.
    #[error("the attachment to `{interface}` cannot be pinned: {message}")]
    Pin {
        /// Its name.
        interface: String,
        /// What the kernel said.
        message: String,
    },
}

/// What an interface has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The mode; `None` where a pinned attachment went on.
    pub mode: Option<XdpMode>,
    /// Which variant of the program.
    pub variant: Variant,
}

/// Attaches a program to an interface, or makes the attachment that is pinned run it.
///
/// An update replaces the program between two packets. It is never detached to be attached anew.
/// Which variant of the program it is, the interface's MTU says, or the driver by refusing the other.
/// `occupants` keeps in mind who was found where somebody else is.
pub fn attach(
    ebpf: &mut Ebpf,
    program: Program,
    interface: &str,
    mode: XdpMode,
    pin: &Path,
    occupants: &mut Occupants,
) -> Result<Attached, AttachError> {
    let variants = Variant::of_interface(interface);
    if let Some(variant) = go_on(ebpf, program, interface, pin, variants)? {
        return Ok(Attached { mode: None, variant });
    }
    let index = nix::net::if_::if_nametoindex(interface)
        .map_err(|_| AttachError::NoInterface(interface.to_owned()))?;
    let wanted = match mode {
        XdpMode::Auto => &[XdpMode::Native, XdpMode::Generic][..],
        XdpMode::Native => &[XdpMode::Native],
        XdpMode::Generic => &[XdpMode::Generic],
    };
    let mut refusal = None;
    for mode in wanted {
        for variant in variants {
            let program = match program.load(ebpf, variant) {
                Ok(program) => program,
                Err(error) => {
                    // An earlier refusal says more: this variant would only have been the next try.
                    refusal.get_or_insert(error);
                    continue;
                }
            };
            match program.attach_to_if_index(index, aya_mode(*mode)) {
                Ok(id) => {
                    keep(program, id, interface, pin)?;
                    return Ok(Attached { mode: Some(*mode), variant });
                }
                Err(error) if is_occupied(&error) => {
                    let (interface, program) = (interface.to_owned(), occupants.on(interface));
                    return Err(AttachError::Occupied { interface, program });
                }
                Err(source) => {
                    // What the variant is told that should fit says more than what the other is.
                    let refused = refused(interface, *mode, source);
                    if variant == variants[0] {
                        refusal = Some(refused);
                    } else {
                        refusal.get_or_insert(refused);
                    }
                }
            }
        }
    }
    Err(refusal.unwrap_or_else(|| AttachError::NoInterface(interface.to_owned())))
}

/// Pins a new attachment.
fn keep(program: &mut Xdp, id: XdpLinkId, interface: &str, pin: &Path) -> Result<(), AttachError> {
    let link = program.take_link(id).map_err(|error| unpinned(interface, &error))?;
    let link = FdLink::try_from(link).map_err(|error| unpinned(interface, &error))?;
    link.pin(pin).map(drop).map_err(|error| unpinned(interface, &error))
}

fn refused(interface: &str, mode: XdpMode, source: ProgramError) -> AttachError {
    let hint = hint(&source);
    let (interface, source) = (interface.to_owned(), Box::new(source));
    let mode = if mode == XdpMode::Native { "native" } else { "generic" };
    AttachError::Refused { interface, mode, source, hint }
}

/// Makes a pinned attachment run a variant of the program; `None` if there is none that is alive.
fn go_on(
    ebpf: &mut Ebpf,
    program: Program,
    interface: &str,
    pin: &Path,
    [first, second]: [Variant; 2],
) -> Result<Option<Variant>, AttachError> {
    let mut go_on_with = |variant| {
        let program = program.load(ebpf, variant)?;
        let is_alive = update(program, interface, pin)?;
        Ok(is_alive.then_some(variant))
    };
    // What the first is told says more than what the second is, also if that cannot be loaded.
    go_on_with(first).or_else(|refusal| go_on_with(second).map_err(|_| refusal))
}

/// Makes a pinned attachment run the program; false if there is none that is alive.
fn update(program: &mut Xdp, interface: &str, pin: &Path) -> Result<bool, AttachError> {
    let pinned = match PinnedLink::from_pin(pin) {
        Ok(pinned) => pinned,
        Err(LinkError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            return Ok(false);
        }
        Err(error) => return Err(unpinned(interface, &error)),
    };
    let link =
        XdpLink::try_from(FdLink::from(pinned)).map_err(|error| unpinned(interface, &error))?;
    match program.attach_to_link(link) {
        // Not kept open: only the pin holds the attachment, so that one whose pin somebody removes
        // is gone, and noticed, at once and not with the daemon's end.
        Ok(id) => program.take_link(id).map(|_| true).map_err(|error| unpinned(interface, &error)),
        // The interface was deleted, perhaps made anew under the same name: the link is an orphan.
        Err(ProgramError::SyscallError(error))
            if error.io_error.raw_os_error() == Some(Errno::ENOLINK as i32) =>
        {
            std::fs::remove_file(pin).map_err(|error| unpinned(interface, &error))?;
            Ok(false)
        }
        Err(error) => Err(unpinned(interface, &error)),
    }
}

/// Takes the program off an interface and removes the pin. Packets take the usual way when this
/// returns; a link that is only unpinned is let go by the kernel a moment later.
pub fn release(interface: &str, pin: &Path) -> Result<(), AttachError> {
    let link = match sys::open_pin(pin) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        link => link,
    };
    link.and_then(|link| sys::detach_link(link.as_fd()))
        .and_then(|()| std::fs::remove_file(pin))
        .map_err(|error| unpinned(interface, &error))
}

/// Gives attachments the names that their interfaces have now: an attachment stays with its interface
/// when that is renamed, and must not be taken for one of an interface that gets the former name.
pub fn follow_names(pins: &Pins) -> Result<(), AttachError> {
    let names = pins.attached().unwrap_or_default();
    let renamed = names.iter().filter_map(|name| {
        let index =
            sys::open_pin(&pins.link(name)).and_then(|link| sys::interface_of(link.as_fd()));
        let now = if_indextoname(index.ok()?).ok()?.into_string().ok()?;
        (now != *name).then_some((name, now))
    });
    // In two steps: interfaces may have swapped their names.
    let renamed: Vec<(&String, String)> = renamed.collect();
    let moved = |from: &Path, to: &Path, name: &str| {
        std::fs::rename(from, to).map_err(|error| unpinned(name, &error))
    };
    for (before, now) in &renamed {
        moved(&pins.link(before), &pins.link(&format!("{now}{ON_THE_WAY}")), now)?;
    }
    for (before, now) in &renamed {
        tracing::info!(before, now, "an interface was renamed");
        moved(&pins.link(&format!("{now}{ON_THE_WAY}")), &pins.link(now), now)?;
    }
    Ok(())
}

/// No interface's name has it.
const ON_THE_WAY: &str = "%renamed";

fn unpinned(interface: &str, error: &dyn std::fmt::Display) -> AttachError {
    AttachError::Pin { interface: interface.to_owned(), message: error.to_string() }
}

const fn aya_mode(mode: XdpMode) -> AyaMode {
    match mode {
        XdpMode::Native | XdpMode::Auto => AyaMode::Driver,
        XdpMode::Generic => AyaMode::Skb,
    }
}

fn errno(error: &ProgramError) -> Option<Errno> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error().map(Errno::from_raw),
        _ => None,
    }
}

/// The kernel says EBUSY for a second program of the same mode and EEXIST for another mode.
fn is_occupied(error: &ProgramError) -> bool {
    matches!(errno(error), Some(Errno::EBUSY | Errno::EEXIST))
}

fn hint(error: &ProgramError) -> &'static str {
    match errno(error) {
        Some(Errno::EOPNOTSUPP) => {
            " (the driver has no XDP: set daemon.xdp_mode to \"generic\" or \"auto\")"
        }
        Some(Errno::ERANGE) => {
            " (the driver cannot take frames of its MTU in several buffers: lower the MTU to 3,498 \
             bytes, or set daemon.xdp_mode to \"generic\")"
        }
        Some(Errno::EPERM) => " (lbd needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)",
        _ => "",
    }
}
