//! `lbctl apply FILE`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Context, output, unexpected};
use crate::api::protocol::{Answer, Failure, FailureKind, Request};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The configuration file.
    file: PathBuf,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let file = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file).map_err(|error| Failure {
        kind: FailureKind::Negative,
        message: format!("{file}: cannot be read: {error}"),
    })?;
    match context.ask(&Request::Apply { file, text })? {
        Answer::Done(message) => output::done(context.format, &message),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
