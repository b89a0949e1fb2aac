//! Why there are no objects.

use std::{
    fmt::{self, Display, Formatter},
    io,
    path::PathBuf,
    process::ExitStatus,
};

use crate::toolchain::{DebianUnfit, NightlyUnfit};

/// Why there are no objects: one sentence each, because a build script can only show one line.
#[derive(Debug)]
pub enum Error {
    /// No bpf-linker anywhere.
    NoLinker {
        /// Where our own would be.
        tools: PathBuf,
    },
    /// A bpf-linker that cannot be run, most likely because its LLVM was removed.
    BrokenLinker {
        /// The program.
        linker: PathBuf,
        /// What running it gave.
        reason: String,
    },
    /// Neither route has a compiler.
    NoCompiler {
        /// What is wrong with rustup's nightly, unless that route was excluded.
        nightly: Option<NightlyUnfit>,
        /// What is wrong with Debian's compiler, unless that route was excluded.
        debian: Option<DebianUnfit>,
    },
    /// `LB_BPF_TOOLCHAIN` holds something else than a route.
    UnknownRoute(String),
    /// Cargo could not be started.
    NoCargo(io::Error),
    /// Cargo has refused to compile lb-ebpf.
    Compile {
        /// How cargo ended.
        status: ExitStatus,
        /// The toolchain, for people.
        toolchain: String,
    },
    /// An object is not where it should be, or cannot be copied.
    Object {
        /// The object.
        path: PathBuf,
        /// What reading or writing it gave.
        error: io::Error,
        /// Who was to put it there.
        source: &'static str,
    },
    /// `OUT_DIR` does not look like cargo's.
    OutDirectory(PathBuf),
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLinker { tools } => write!(
                f,
                "no BPF toolchain: bpf-linker is neither in {} nor on PATH; {SETUP}",
                tools.join("bin").display()
            ),
            Self::BrokenLinker { linker, reason } => {
                write!(f, "no BPF toolchain: {} does not run ({reason}); {SETUP}", linker.display())
            }
            Self::NoCompiler { nightly, debian } => {
                write!(f, "no BPF toolchain: ")?;
                if let Some(nightly) = nightly {
                    write!(f, "{nightly}; ")?;
                }
                if let Some(debian) = debian {
                    write!(f, "{debian}; ")?;
                }
                write!(f, "{SETUP}")
            }
            Self::UnknownRoute(value) => write!(
                f,
                "LB_BPF_TOOLCHAIN is {value:?}, which is no route: \
                 set it to \"nightly\" or \"debian\", or unset it"
            ),
            Self::NoCargo(error) => {
                write!(f, "cargo cannot be started to compile lb-ebpf ({error}); {SETUP}")
            }
            Self::Compile { status, toolchain } => write!(
                f,
                "lb-ebpf does not compile with {toolchain} ({status}); \
                 the compiler's messages are with this one"
            ),
            Self::Object { path, error, source } => {
                write!(f, "no object {} ({error}); {source}", path.display())
            }
            Self::OutDirectory(path) => write!(
                f,
                "OUT_DIR is {}, which is not below a target directory; \
                 build with cargo, or report this cargo's layout",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

/// What to do about anything that is missing.
const SETUP: &str = "run `cargo xtask setup`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_compiler_names_both_routes_and_the_way_out() {
        let error = Error::NoCompiler {
            nightly: Some(NightlyUnfit::NoRustup),
            debian: Some(DebianUnfit::NoCompiler),
        };
        let text = error.to_string();
        assert!(text.starts_with("no BPF toolchain: "), "{text}");
        assert!(text.contains("rustup") && text.contains("rustc-web"), "{text}");
        assert!(text.ends_with(SETUP), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}
