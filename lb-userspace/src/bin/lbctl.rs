//! `lbctl`: changes and explains what lbd does.

use std::process::ExitCode;

use clap::Parser as _;
use lb_userspace::cli;

fn main() -> ExitCode {
    match cli::Arguments::try_parse() {
        Ok(arguments) => cli::run(arguments),
        Err(error) => cli::explain(&error),
    }
}
