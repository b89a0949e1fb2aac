//! `lbctl check FILE`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{Context, output};
use crate::{
    api::protocol::{Failure, FailureKind},
    config::Config,
};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The configuration file.
    file: PathBuf,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let negative = |message: String| Failure { kind: FailureKind::Negative, message };
    let config = Config::load(&arguments.file).map_err(|error| negative(error.to_string()))?;
    let backends: usize = config.services.iter().map(|service| service.backends.len()).sum();
    let message = format!(
        "{}: ok, {} services, {backends} backends",
        arguments.file.display(),
        config.services.len()
    );
    output::done(context.format, &message);
    Ok(ExitCode::SUCCESS)
}
