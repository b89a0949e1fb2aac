//! Running other programs.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Runs a command under a heading, with its output on our own.
///
/// # Errors
/// The heading and how the command ended, if it could not be started or has failed.
pub(crate) fn run(heading: &str, command: &mut Command) -> Result<()> {
    eprintln!("== {heading}");
    let status = command
        .status()
        .with_context(|| format!("{heading}: cannot start {:?}", command.get_program()))?;
    ensure!(status.success(), "{heading}: failed ({status}), see above");
    Ok(())
}

/// The cargo that runs xtask, in the workspace, without what the outer `cargo run` says about the
/// xtask package: build scripts that watch such variables would run again for nothing.
pub(crate) fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if is_about_package(&name) {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace());
    command
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// The target directory, wherever the user's settings have put it: xtask itself is in it.
///
/// # Errors
/// If xtask was copied out of it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let xtask = env::current_exe().context("cannot tell where xtask is")?;
    // <target>/<profile>/xtask
    let target = xtask.ancestors().nth(2);
    target
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not in a target directory", xtask.display()))
}

fn is_about_package(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}
