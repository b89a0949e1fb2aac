//! Compiles the XDP programs, so that `objects` can embed them.

use std::{env, path::Path, process::ExitCode};

use lb_ebpf_build::Error;

fn main() -> ExitCode {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a directory of the workspace");
    for input in lb_ebpf_build::inputs(workspace) {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    for variable in lb_ebpf_build::VARIABLES {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let variable = |name| env::var(name).expect("cargo sets it for build scripts");
    let (out, triple) = (variable("OUT_DIR"), variable("TARGET"));
    match lb_ebpf_build::provide(workspace, Path::new(&out), &triple) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            match error {
                // Only a failing script has its standard error shown: the compiler's messages.
                Error::Compile { .. } => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            }
        }
    }
}
