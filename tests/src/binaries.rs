//! Where the things under test are.

use std::path::PathBuf;

use crate::error::RigError;

/// The path of a program of this workspace, such as `lbd`.
///
/// It is looked for where `LB_BIN_DIR` says, else beside the running program: cargo puts programs
/// into a folder and tests into `deps` below it.
pub fn program(name: &str) -> Result<PathBuf, RigError> {
    let folders = match std::env::var_os("LB_BIN_DIR") {
        Some(folder) => vec![PathBuf::from(folder)],
        None => above_this_program().take(2).collect(),
    };
    let mut candidates = folders.iter().map(|folder| folder.join(name));
    candidates.find(|path| path.is_file()).ok_or_else(|| RigError::NotBuilt {
        program: name.into(),
        folders,
        remedy: match name {
            "lbd-next-layout" => {
                "cargo build -p lb-userspace --features next-layout --bin lbd-next-layout"
            }
            _ => "cargo build -p lb-userspace -p lb-tests",
        },
    })
}

fn above_this_program() -> impl Iterator<Item = PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let folders: Vec<_> = program.ancestors().skip(1).map(PathBuf::from).collect();
    folders.into_iter()
}
