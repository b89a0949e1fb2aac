//! `lbctl detach`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Context, output};
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
    let interfaces = datapath::detach(&arguments.pin_dir).map_err(|error| {
        let kind = match error {
            DatapathError::Pins(PinError::Locked { .. }) => FailureKind::Conflict,
            _ => FailureKind::Negative,
        };
        Failure { kind, message: error.to_string() }
    })?;
    if interfaces.is_empty() {
        let message = format!("nothing is attached under {}", arguments.pin_dir.display());
        return Err(Failure { kind: FailureKind::NotFound, message });
    }
    output::done(context.format, &format!("detached from {}", interfaces.join(", ")));
    Ok(ExitCode::SUCCESS)
}
