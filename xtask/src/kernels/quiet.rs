//! Running programs whose output is only of interest if they fail, or to be read.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// A command that is run to its end without a word on the terminal.
pub(super) struct Quiet {
    program: OsString,
    command: Command,
}

impl Quiet {
    pub(super) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().to_owned();
        let mut command = Command::new(&program);
        // Programs of the system that users may not have on their path; and words to be parsed.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
        command.stdin(Stdio::null());
        Self { program, command }
    }

    pub(super) fn with<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.command.args(words);
        self
    }

    pub(super) fn inside(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs it and returns what it wrote to standard output.
    ///
    /// # Errors
    /// The end of its standard error, if it could not be started or has failed.
    pub(super) fn output(mut self) -> Result<String> {
        let program = self.program.display();
        let output = self.command.output().with_context(|| format!("cannot start `{program}`"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<_> = errors.trim_end().lines().collect();
            let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
            bail!("`{program}` failed ({}):\n    {tail}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// How many lines of a failed command's errors are shown.
const TAIL: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_what_the_program_said() {
        let error = Quiet::new("sh").with(["-c", "echo good; echo bad >&2; exit 3"]).output();
        let error = error.unwrap_err().to_string();
        assert!(error.contains("`sh` failed") && error.contains("bad"), "{error}");
        assert!(!error.contains("good"), "{error}");
    }
}
