//! Where things are: the sources, the target directory, our own tools.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::Error;

/// Moves the directory of our own tools; bpf-linker is in `bin` below it.
pub(crate) const TOOLS_VARIABLE: &str = "LB_TOOLS_DIR";

/// The directory that setup installs tools to: outside `target`, so that `cargo clean` spares it.
#[must_use]
pub fn tools_directory() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(tools) = set(TOOLS_VARIABLE) {
        return tools.into();
    }
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        let home = set("HOME").unwrap_or_else(|| "/root".into());
        Path::new(&home).join(".cache")
    });
    cache.join("lb/tools")
}

/// The files and directories whose change asks for new objects.
#[must_use]
pub fn inputs(workspace: &Path) -> Vec<PathBuf> {
    [
        "Cargo.toml",
        "Cargo.lock",
        "lb-common/Cargo.toml",
        "lb-common/src",
        "lb-ebpf/Cargo.toml",
        "lb-ebpf/src",
        "lb-ebpf/build",
    ]
    .map(|input| workspace.join(input))
    .into()
}

/// The target directory that a build script's `OUT_DIR` is in, given the script's `TARGET`.
///
/// Cargo does not tell it to build scripts. `OUT_DIR` is `<target>/[<triple>/]<profile>/build/...`.
///
/// # Errors
/// [`Error::OutDirectory`] if there is no such `build` component.
pub fn target_directory(out: &Path, triple: &str) -> Result<PathBuf, Error> {
    let parent = |path: &Path| path.parent().map(Path::to_path_buf);
    out.ancestors()
        .skip(1)
        .find(|directory| directory.ends_with("build"))
        .and_then(parent)
        .as_deref()
        .and_then(parent)
        .and_then(
            |directory| {
                if directory.ends_with(triple) { parent(&directory) } else { Some(directory) }
            },
        )
        .ok_or_else(|| Error::OutDirectory(out.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIPLE: &str = "x86_64-unknown-linux-gnu";

    fn target(out: &str) -> Option<PathBuf> {
        target_directory(Path::new(out), TRIPLE).ok()
    }

    #[test]
    fn the_target_directory_is_above_the_profile() {
        let expected = Some(PathBuf::from("/w/target"));
        assert_eq!(target("/w/target/debug/build/lb-userspace-1f/out"), expected);
        assert_eq!(
            target(&format!("/w/target/{TRIPLE}/release/build/lb-userspace-1f/out")),
            expected
        );
    }

    #[test]
    fn the_layout_with_a_directory_per_package_is_understood() {
        assert_eq!(
            target("/w/target/debug/build/lb-userspace/1f/out"),
            Some(PathBuf::from("/w/target"))
        );
    }

    #[test]
    fn a_workspace_in_a_directory_named_build_is_understood() {
        assert_eq!(
            target("/build/lb/target/debug/build/lb-userspace-1f/out"),
            Some(PathBuf::from("/build/lb/target"))
        );
    }

    #[test]
    fn another_layout_is_an_error() {
        assert_eq!(target("/w/target/debug/out"), None);
        assert_eq!(target("/build/out"), None);
    }
}
