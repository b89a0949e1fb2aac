//! What compiles for BPF on this machine.
//!
//! A linker and a compiler of the same LLVM. The linker is bpf-linker. For the compiler there are
//! two routes, because a bare machine may reach only one of their sources: rustup's nightly, which
//! compiles `core` itself from rust-src, and Debian's rustc-web with its ready-made `core`.

mod compiler;
mod debian;
mod linker;
mod nightly;
mod version;

use std::{
    env,
    ffi::OsString,
    fmt::{self, Display, Formatter},
    path::Path,
    process::Command,
};

pub(crate) use self::compiler::ROUTE_VARIABLE;
pub use self::{
    compiler::Compiler,
    debian::{Debian, DebianUnfit},
    linker::{LINKER_VERSION, Linker},
    nightly::{NIGHTLY, Nightly, NightlyUnfit, ROLLING_NIGHTLY},
    version::RustcVersion,
};
use crate::Error;

/// The LLVM that linker and compiler must have in common: bitcode is only readable by the same
/// version or a newer one.
pub const LLVM_MAJOR: u32 = 22;

/// The target that the objects are compiled for.
pub const TARGET: &str = "bpfel-unknown-none";

/// A linker and a compiler that fit.
#[derive(Debug)]
pub struct Toolchain {
    /// What links.
    pub linker: Linker,
    /// What compiles.
    pub compiler: Compiler,
}

impl Toolchain {
    /// The first toolchain that works.
    ///
    /// # Errors
    /// One sentence about what is missing.
    pub fn find() -> Result<Self, Error> {
        Ok(Self { linker: Linker::find()?, compiler: Compiler::find()? })
    }

    /// A cargo command that runs `verb` for the BPF target, undisturbed by an outer cargo.
    #[must_use]
    pub fn cargo(&self, verb: &str, target_directory: &Path) -> Command {
        let mut cargo = match &self.compiler {
            Compiler::Nightly(nightly) => nightly.cargo(),
            Compiler::Debian(debian) => debian.cargo(),
        };
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(disturbs) {
                cargo.env_remove(name);
            }
        }
        match &self.compiler {
            Compiler::Nightly(_) => cargo.args([verb, "-Zbuild-std=core"]),
            Compiler::Debian(debian) => cargo.arg(verb).envs(debian.variables()),
        };
        cargo
            .args(["--release", "--package", "lb-ebpf", "--target", TARGET])
            .env("CARGO_TARGET_DIR", target_directory.join("ebpf"))
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags());
        cargo
    }

    /// The compiler's flags, as cargo wants them: separated by a character that no path has.
    fn flags(&self) -> OsString {
        let mut flags = OsString::from("-Clinker=");
        flags.push(self.linker.path());
        for flag in FLAGS {
            flags.push("\x1f");
            flags.push(flag);
        }
        flags
    }
}

impl Display for Toolchain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.compiler, self.linker)
    }
}

/// Whether an environment variable would leak the outer build's settings, or the user's for host
/// builds, into the build for BPF.
fn disturbs(name: &str) -> bool {
    let kept = [
        "CARGO_HOME",
        // The outer cargo's job tokens: both together keep to its `-j`.
        "CARGO_MAKEFLAGS",
        "CARGO_BUILD_JOBS",
        // How to reach registries, and how to talk.
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    let judged = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS"];
    // What the outer cargo tells its build script. Aya's build scripts watch HOST: they would run
    // again whenever the next build for BPF comes from elsewhere.
    let told = ["DEBUG", "HOST", "NUM_JOBS", "OPT_LEVEL", "OUT_DIR", "PROFILE", "TARGET"];
    told.contains(&name)
        || judged.iter().any(|prefix| name.starts_with(prefix))
            && !kept.iter().any(|prefix| name.starts_with(prefix))
}

/// Version 3 of the instruction set has 32-bit operations and atomics; with misaligned access a
/// header field is one load instead of one per byte; debug information becomes BTF.
const FLAGS: [&str; 4] = [
    "-Cdebuginfo=2",
    "-Ctarget-cpu=v3",
    "-Clink-arg=--btf",
    "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_outer_build_disturb() {
        for name in [
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_DEBUG",
            "HOST",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
        ] {
            assert!(disturbs(name), "{name}");
        }
    }

    #[test]
    fn the_users_network_and_jobs_are_kept() {
        for name in [
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "HOME",
            "PATH",
            "RUSTUP_HOME",
        ] {
            assert!(!disturbs(name), "{name}");
        }
    }
}
