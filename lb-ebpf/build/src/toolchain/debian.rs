//! Debian's rustc-web, which has a ready-made `core` for BPF.

use std::{
    env,
    ffi::OsStr,
    fmt::{self, Display, Formatter},
    path::Path,
    process::Command,
};

use super::{LLVM_MAJOR, RustcVersion, TARGET};

/// Debian's compiler, with a `core` for BPF.
#[derive(Debug)]
pub struct Debian {
    version: RustcVersion,
}

impl Debian {
    /// The packages that this compiler is made of.
    pub const PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];

    /// The packaged compiler, if its LLVM fits.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn find() -> Result<Self, DebianUnfit> {
        let core = Path::new("/usr/lib/rustlib").join(TARGET).join("lib");
        let version =
            RustcVersion::of(RUSTC).filter(|_| core.is_dir()).ok_or(DebianUnfit::NoCompiler)?;
        if version.llvm_major != LLVM_MAJOR {
            return Err(DebianUnfit::OtherLlvm { major: version.llvm_major });
        }
        Ok(Self { version })
    }

    /// The cargo that runs already, whichever it is: it only drives the compiler.
    pub(super) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO");
        Command::new(cargo.as_deref().unwrap_or(OsStr::new("cargo")))
    }

    /// What makes a cargo use this compiler. It is a stable one that has to allow unstable
    /// features: aya-ebpf reaches the kernel's functions by inline assembly for BPF.
    pub(super) fn variables(&self) -> [(&'static str, &'static str); 2] {
        [("RUSTC", RUSTC), ("RUSTC_BOOTSTRAP", "1")]
    }
}

impl Display for Debian {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Debian's rustc-web (rustc {})", self.version.release)
    }
}

/// Why Debian's compiler cannot compile for BPF.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DebianUnfit {
    /// There is none, or it has no `core` for BPF.
    NoCompiler,
    /// It has another LLVM than the linker: the package lists are old, or the release is.
    OtherLlvm {
        /// The major version of its LLVM.
        major: u32,
    },
}

impl Display for DebianUnfit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCompiler => {
                let [compiler, core] = Debian::PACKAGES;
                write!(f, "Debian's {compiler} with {core} is not installed")
            }
            Self::OtherLlvm { major } => {
                write!(f, "{RUSTC} has LLVM {major}, not the linker's {LLVM_MAJOR}")
            }
        }
    }
}

/// By its path: on `PATH` rustup's comes first.
const RUSTC: &str = "/usr/bin/rustc";
