//! Every developer workflow as one command; `cargo xtask --help` lists them.
//!
//! One file or folder per verb.

mod bench;
mod chaos;
mod check;
mod command;
mod demo;
mod fuzz;
mod kernels;
mod miri;
mod setup;
mod simulate;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// Every developer workflow of lb as one command.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Verb {
    Setup(setup::Setup),
    Check(check::Check),
    Demo(demo::Demo),
    Test(test::Test),
    Bench(bench::Bench),
    Fuzz(fuzz::Fuzz),
    Chaos(chaos::Chaos),
    Simulate(simulate::Simulate),
    Kernels(kernels::Kernels),
    Miri(miri::Miri),
}

fn main() -> ExitCode {
    let result = match Verb::parse() {
        Verb::Setup(setup) => setup.run(),
        Verb::Check(check) => check.run(),
        Verb::Demo(demo) => demo.run(),
        Verb::Test(test) => test.run(),
        Verb::Bench(bench) => bench.run(),
        Verb::Fuzz(fuzz) => fuzz.run(),
        Verb::Chaos(chaos) => chaos.run(),
        Verb::Simulate(simulate) => simulate.run(),
        Verb::Kernels(kernels) => kernels.run(),
        Verb::Miri(miri) => miri.run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
