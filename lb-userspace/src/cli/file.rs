//! The configuration file that a command is given.

use std::path::PathBuf;

use clap::Args;

use crate::api::protocol::{Failure, FailureKind};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The configuration file.
    file: PathBuf,
}

impl Arguments {
    /// The file's name, as it was given, and its text.
    pub(super) fn read(&self) -> Result<(String, String), Failure> {
        let file = self.file.display().to_string();
        match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok((file, text)),
            Err(error) => Err(Failure {
                kind: FailureKind::Negative,
                message: format!("{file}: cannot be read: {error}"),
            }),
        }
    }
}
