//! `lbctl detach`

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::{Context, output, permission};
use crate::{
    api::protocol::{Failure, FailureKind, Request},
    datapath::{self, DatapathError, pins::PinError},
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Directory of the data plane on the BPF file system, as in the configuration.
    #[arg(long, default_value = "/sys/fs/bpf/lb")]
    pin_dir: PathBuf,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    // A daemon that runs would put everything back within a second.
    if context.ask(&Request::Status).is_ok() {
        let message = "lbd is running and would attach again: stop it first".to_owned();
        return Err(Failure { kind: FailureKind::Conflict, message });
    }
    let interfaces = detach(&arguments.pin_dir)?;
    if interfaces.is_empty() {
        let message = format!("nothing is attached under {}", arguments.pin_dir.display());
        return Err(Failure { kind: FailureKind::NotFound, message });
    }
    output::done(context.format, &format!("detached from {}", interfaces.join(", ")));
    Ok(ExitCode::SUCCESS)
}

fn detach(pin_dir: &Path) -> Result<Vec<String>, Failure> {
    require_readable(pin_dir).map_err(|error| failure(&error))?;
    datapath::detach(pin_dir).map_err(|error| failure(&error))
}

/// Who may not look cannot say that nothing is there.
fn require_readable(pin_dir: &Path) -> Result<(), DatapathError> {
    match fs::read_dir(pin_dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PinError::File { path: pin_dir.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

fn failure(error: &DatapathError) -> Failure {
    let kind = match error {
        DatapathError::Pins(PinError::Locked { .. }) => FailureKind::Conflict,
        _ => permission::kind_of(error, FailureKind::Negative),
    };
    Failure { kind, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_look_is_told_so() {
        for below in ["", "lb"] {
            let detached = permission::as_nobody(|closed| detach(&closed.join(below)));
            let failure = detached.expect_err("not permitted");
            assert_eq!(failure.kind, FailureKind::Permission, "{failure}");
        }
    }

    #[test]
    fn nothing_is_attached_where_nothing_is() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(detach(&directory.path().join("pins")), Ok(Vec::new()));
    }
}
