//! What a rustc says about itself.

use std::{ffi::OsStr, process::Command};

/// The lines of `rustc -vV` that matter here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RustcVersion {
    /// The release, like `1.97.0-nightly`.
    pub release: String,
    /// The major version of its LLVM.
    pub llvm_major: u32,
}

impl RustcVersion {
    /// Asks a rustc.
    pub(super) fn of(rustc: impl AsRef<OsStr>) -> Option<Self> {
        let output = Command::new(rustc).arg("-vV").output().ok()?;
        Self::parse(std::str::from_utf8(&output.stdout).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            release: field("release: ")?.to_owned(),
            llvm_major: field("LLVM version: ")?.split('.').next()?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_and_llvm_are_read() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\n\
                    binary: rustc\n\
                    commit-date: 2026-05-19\n\
                    host: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\n\
                    LLVM version: 22.1.4\n";
        assert_eq!(
            RustcVersion::parse(text),
            Some(RustcVersion { release: "1.97.0-nightly".into(), llvm_major: 22 })
        );
    }

    #[test]
    fn a_compiler_without_llvm_is_refused() {
        assert_eq!(RustcVersion::parse("release: 1.97.0\n"), None);
        assert_eq!(RustcVersion::parse("release: 1.97.0\nLLVM version: unknown\n"), None);
        assert_eq!(RustcVersion::parse(""), None);
    }
}
