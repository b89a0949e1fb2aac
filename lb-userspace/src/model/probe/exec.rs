//! Which program a check runs.

use std::path::PathBuf;

/// Which program a check runs, without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecProbe {
    /// The program, an absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What its exit code says.
    pub exit_code: ExitCode,
}

/// What the exit code of a program says. Code 0 passes in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitCode {
    /// Any other fails.
    #[default]
    Verdict,
    /// 1 fails; 2 to 255 pass and ask for a weight of 2 less. keepalived's dynamic `MISC_CHECK`.
    Weight,
}
