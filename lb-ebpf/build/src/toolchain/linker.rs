//! bpf-linker.

use std::{
    env,
    ffi::OsString,
    fmt::{self, Display, Formatter},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, places::tools_directory};

/// The bpf-linker that setup installs.
pub const LINKER_VERSION: &str = "0.13.0";

/// A bpf-linker that runs.
#[derive(Debug)]
pub struct Linker {
    path: PathBuf,
    version: String,
}

impl Linker {
    /// Our own linker, or else the one on `PATH`.
    ///
    /// Ours comes first: its LLVM is the right one, which a linker does not tell about itself. If
    /// another's is older, linking fails with LLVM's message about unreadable bitcode.
    ///
    /// # Errors
    /// [`Error::NoLinker`], [`Error::BrokenLinker`].
    pub fn find() -> Result<Self, Error> {
        let tools = tools_directory();
        let path = candidates(&tools, env::var_os("PATH"))
            .into_iter()
            .find(|candidate| candidate.is_file())
            .ok_or(Error::NoLinker { tools })?;
        match ask_version(&path) {
            Ok(version) => Ok(Self { path, version }),
            Err(reason) => Err(Error::BrokenLinker { linker: path, reason }),
        }
    }

    /// The program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is ours, but left over from before [`LINKER_VERSION`] was raised.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.path.starts_with(tools_directory()) && self.version != LINKER_VERSION
    }
}

impl Display for Linker {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "bpf-linker {} ({})", self.version, self.path.display())
    }
}

fn candidates(tools: &Path, path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    std::iter::once(tools.join("bin"))
        .chain(env::split_paths(&path))
        .map(|directory| directory.join("bpf-linker"))
        .collect()
}

/// Runs the linker: the file may be there and yet miss its libLLVM.
fn ask_version(linker: &Path) -> Result<String, String> {
    let output =
        Command::new(linker).arg("--version").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason = stderr.lines().next().unwrap_or("no message").trim();
        return Err(reason.to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(parse_version(&text).to_owned())
}

/// `bpf-linker 0.13.0` -> `0.13.0`.
fn parse_version(text: &str) -> &str {
    text.split_whitespace().nth(1).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_linker_comes_before_the_one_on_path() {
        let found = candidates(Path::new("/tools"), Some("/a:/b".into()));
        let expected = ["/tools/bin", "/a", "/b"].map(|d| Path::new(d).join("bpf-linker"));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_version_is_the_second_word() {
        assert_eq!(parse_version("bpf-linker 0.13.0\n"), "0.13.0");
        assert_eq!(parse_version(""), "unknown");
    }
}
