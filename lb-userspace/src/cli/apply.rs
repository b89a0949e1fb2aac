//! `lbctl apply FILE`

use std::process::ExitCode;

use super::{Context, file, output, unexpected};
use crate::api::protocol::{Answer, Failure, Request};

pub(super) fn run(context: &Context, arguments: &file::Arguments) -> Result<ExitCode, Failure> {
    let (file, text) = arguments.read()?;
    match context.ask(&Request::Apply { file, text })? {
        Answer::Done(message) => output::done(context.format, &message),
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}
