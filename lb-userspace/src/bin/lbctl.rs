//! `lbctl`: changes and explains what lbd does.

use std::process::ExitCode;

use clap::Parser as _;
use lb_userspace::cli;

fn main() -> ExitCode {
    cli::run(cli::Arguments::parse())
}
