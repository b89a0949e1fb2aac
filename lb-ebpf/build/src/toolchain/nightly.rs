//! Rustup's nightly, which compiles `core` for BPF from rust-src.

use std::{
    fmt::{self, Display, Formatter},
    path::PathBuf,
    process::Command,
};

use super::{LLVM_MAJOR, RustcVersion};

/// The nightly that the programs were verified with, and that setup installs where there is none.
///
/// Codegen decides what the kernel's verifier accepts, so raise it together with a look at the
/// verified instruction counts.
pub const NIGHTLY: &str = "nightly-2026-05-20";

/// The nightly that a machine may have already; good enough while its LLVM is the right one.
pub const ROLLING_NIGHTLY: &str = "nightly";

/// A nightly that can compile for BPF.
#[derive(Debug)]
pub struct Nightly {
    channel: &'static str,
    version: RustcVersion,
    sysroot: PathBuf,
}

impl Nightly {
    /// The verified nightly, or else the rolling one.
    ///
    /// # Errors
    /// What is wrong with the one that comes closest.
    pub fn find() -> Result<Self, NightlyUnfit> {
        Self::inspect(NIGHTLY).or_else(|pinned| {
            Self::inspect(ROLLING_NIGHTLY).map_err(|rolling| {
                if pinned == NightlyUnfit::NoSource(NIGHTLY) { pinned } else { rolling }
            })
        })
    }

    fn inspect(channel: &'static str) -> Result<Self, NightlyUnfit> {
        let output = rustup()
            .args(["which", "--toolchain", channel, "rustc"])
            .output()
            .map_err(|_| NightlyUnfit::NoRustup)?;
        let rustc = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let version = RustcVersion::of(&rustc).ok_or(NightlyUnfit::NotInstalled)?;
        if version.llvm_major != LLVM_MAJOR {
            return Err(NightlyUnfit::OtherLlvm { channel, major: version.llvm_major });
        }
        // <sysroot>/bin/rustc
        let sysroot = rustc.ancestors().nth(2).ok_or(NightlyUnfit::NotInstalled)?.to_path_buf();
        if !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
            return Err(NightlyUnfit::NoSource(channel));
        }
        Ok(Self { channel, version, sysroot })
    }

    /// Whether this nightly has clippy.
    #[must_use]
    pub fn has_clippy(&self) -> bool {
        self.sysroot.join("bin/cargo-clippy").is_file()
    }

    /// This nightly's cargo. Through rustup, which also makes it find its own rustc.
    pub(super) fn cargo(&self) -> Command {
        let mut rustup = rustup();
        rustup.args(["run", self.channel, "cargo"]);
        rustup
    }
}

impl Display for Nightly {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { channel, version, .. } = self;
        write!(f, "rustup's {channel} (rustc {})", version.release)
    }
}

/// Why rustup's nightly cannot compile for BPF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NightlyUnfit {
    /// There is no rustup on `PATH`.
    NoRustup,
    /// Rustup has no nightly.
    NotInstalled,
    /// The nightly of this name has no rust-src.
    NoSource(&'static str),
    /// The nightly has another LLVM than the linker.
    OtherLlvm {
        /// Its name.
        channel: &'static str,
        /// The major version of its LLVM.
        major: u32,
    },
}

impl Display for NightlyUnfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRustup => write!(f, "there is no rustup"),
            Self::NotInstalled => write!(f, "rustup has no nightly toolchain"),
            Self::NoSource(channel) => write!(f, "rustup's {channel} has no rust-src"),
            Self::OtherLlvm { channel, major } => {
                write!(f, "rustup's {channel} has LLVM {major}, not the linker's {LLVM_MAJOR}")
            }
        }
    }
}

/// Rustup; it must not install a toolchain just because it was asked about it.
fn rustup() -> Command {
    let mut rustup = Command::new("rustup");
    rustup.env("RUSTUP_AUTO_INSTALL", "0");
    rustup
}
