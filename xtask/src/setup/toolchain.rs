//! The compiler, the linker and the lints.

use std::{env, path::Path};

use anyhow::{Result, bail};
use lb_ebpf_build::{
    Error,
    toolchain::{
        Compiler, Debian, DebianUnfit, LINKER_VERSION, LLVM_MAJOR, Linker, NIGHTLY, NightlyUnfit,
    },
    tools_directory,
};

use super::{
    packages,
    step::{Invocation, Step},
};

/// The step that brings a compiler for BPF.
///
/// # Errors
/// If `LB_BPF_TOOLCHAIN` is wrong.
pub(super) fn compiler_step() -> Result<Option<Step>> {
    match Compiler::find() {
        Ok(_) => Ok(None),
        Err(Error::NoCompiler { nightly, debian }) => Ok(Some(plan(nightly, debian))),
        Err(error) => bail!(error),
    }
}

/// Rustup's nightly, or else Debian's compiler: a machine may not reach rustup's servers. `None`
/// is a route that the user has excluded.
fn plan(nightly: Option<NightlyUnfit>, debian: Option<DebianUnfit>) -> Step {
    let rustup = match nightly {
        None | Some(NightlyUnfit::NoRustup) => None,
        Some(NightlyUnfit::NoSource(channel)) => Some((
            format!("BPF compiler: rust-src for rustup's {channel}"),
            Invocation::user("rustup").with([
                "component",
                "add",
                "rust-src",
                "--toolchain",
                channel,
            ]),
        )),
        Some(NightlyUnfit::NotInstalled | NightlyUnfit::OtherLlvm { .. }) => Some((
            format!("BPF compiler: rustup's {NIGHTLY}"),
            Invocation::user("rustup")
                .with(["toolchain", "install", NIGHTLY, "--no-self-update"])
                .with(["--profile", "minimal"])
                .with(["--component", "rust-src", "--component", "clippy"]),
        )),
    };
    // The lists first: old ones have a rustc-web of another LLVM.
    let packaged = vec![packages::update(), packages::install(&Debian::PACKAGES)];
    match (rustup, debian) {
        (Some((name, command)), None) => Step::new(name, vec![command]),
        (Some((name, command)), Some(_)) => Step::new(name, vec![command]).or_else(packaged),
        (None, _) => Step::new(format!("Debian's {}", Debian::PACKAGES.join(", ")), packaged),
    }
}

/// The step that builds bpf-linker.
pub(super) fn linker_step() -> Option<Step> {
    if Linker::find().is_ok_and(|linker| !linker.is_outdated()) {
        return None;
    }
    let command = Invocation::user("cargo")
        .variable("LLVM_PREFIX", &format!("/usr/lib/llvm-{LLVM_MAJOR}"))
        .with(["install", "bpf-linker", "--version", LINKER_VERSION])
        .with(["--locked", "--no-default-features"])
        .with(["--features", &format!("llvm-{LLVM_MAJOR}")])
        // Cargo takes one for installed that has lost its LLVM.
        .with(["--force", "--root", &tools_directory().to_string_lossy()]);
    let name = format!("bpf-linker {LINKER_VERSION}, compiled here");
    Some(Step::new(name, vec![command]))
}

/// The step that brings clippy and rustfmt, if the cargo that runs us is rustup's.
pub(super) fn lints_step() -> Option<Step> {
    let cargo = env::var_os("CARGO")?;
    let programs = Path::new(&cargo).parent()?;
    let managed = programs.ends_with("bin") && programs.to_string_lossy().contains("/toolchains/");
    let complete =
        ["cargo-clippy", "cargo-fmt"].iter().all(|program| programs.join(program).is_file());
    if complete || !managed {
        return None;
    }
    let command = Invocation::user("rustup").with(["component", "add", "clippy", "rustfmt"]);
    Some(Step::new("clippy and rustfmt".to_owned(), vec![command]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(commands: &[Invocation]) -> Vec<String> {
        commands.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_nightly_without_source_only_gets_that() {
        let step = plan(Some(NightlyUnfit::NoSource("nightly")), Some(DebianUnfit::NoCompiler));
        assert_eq!(shown(&step.commands), ["rustup component add rust-src --toolchain nightly"]);
        assert!(shown(&step.otherwise)[1].contains("rustc-web"));
    }

    #[test]
    fn a_nightly_with_another_llvm_is_not_used() {
        let unfit = NightlyUnfit::OtherLlvm { channel: "nightly", major: 23 };
        let step = plan(Some(unfit), Some(DebianUnfit::NoCompiler));
        assert!(shown(&step.commands)[0].contains(NIGHTLY));
    }

    #[test]
    fn without_rustup_debian_has_to_do() {
        let step = plan(Some(NightlyUnfit::NoRustup), Some(DebianUnfit::NoCompiler));
        assert!(shown(&step.commands)[1].contains("rustc-web"));
        assert!(step.otherwise.is_empty());
    }

    #[test]
    fn an_excluded_route_is_not_taken() {
        let step = plan(Some(NightlyUnfit::NotInstalled), None);
        assert!(step.otherwise.is_empty());
        let step = plan(None, Some(DebianUnfit::NoCompiler));
        assert!(step.name.contains("rustc-web"));
    }
}
