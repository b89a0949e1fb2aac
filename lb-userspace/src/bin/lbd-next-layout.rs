//! `lbd` of the next version, as far as its maps go: what upgrades and downgrades are tested with.

use std::process::ExitCode;

#[path = "lbd.rs"]
mod lbd;

fn main() -> ExitCode {
    lbd::main()
}
