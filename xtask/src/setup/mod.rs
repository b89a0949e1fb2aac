//! `cargo xtask setup`: prepares a bare Debian or Ubuntu machine for building and testing lb.
//!
//! A survey of what is missing gives steps, and a step is a list of commands. They are run with a
//! progress line, or printed where setup may not install: what it prints is what it would run.

mod host;
mod packages;
mod plan;
mod progress;
mod step;
mod toolchain;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use lb_ebpf_build::Toolchain;

use self::{host::Host, packages::Package, progress::Progress, step::Step};

/// Install what building and testing need; on Debian and Ubuntu, as root
#[derive(Args)]
pub(crate) struct Setup {
    /// Only tell what is missing and how to install it; exit code 1 if something is
    #[arg(long)]
    check: bool,
}

impl Setup {
    /// Prepares the machine, or says what it would need.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let host = Host::inspect();
        let steps = survey(&host, packages::FOR_TESTS)?;
        if steps.is_empty() {
            report()?;
            return Ok(ExitCode::SUCCESS);
        }
        let asked = || "Nothing was installed. `cargo xtask setup` would run:".to_owned();
        let hindrance = host.hindrance().or_else(|| self.check.then(asked));
        if let Some(hindrance) = hindrance {
            print!("{}", plan::text(&steps, &hindrance, &host));
            return Ok(ExitCode::FAILURE);
        }
        install(&steps, &host, packages::FOR_TESTS)?;
        report()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Prepares the machine before another verb; silent if there is nothing to do.
///
/// # Errors
/// If something is missing that may not or cannot be installed; what to do has been printed then.
pub(crate) fn ensure() -> Result<()> {
    ensure_all(packages::FOR_TESTS)
}

/// Prepares the machine for booting other kernels; like [`ensure`].
///
/// # Errors
/// As above.
pub(crate) fn ensure_for_kernels() -> Result<()> {
    ensure_all(&[packages::FOR_TESTS, packages::FOR_KERNELS].concat())
}

fn ensure_all(programs: &[Package]) -> Result<()> {
    let host = Host::inspect();
    let steps = survey(&host, programs)?;
    if steps.is_empty() {
        return Ok(());
    }
    if let Some(hindrance) = host.hindrance() {
        eprint!("{}", plan::text(&steps, &hindrance, &host));
        bail!("this machine lacks what is named above");
    }
    install(&steps, &host, programs)
}

/// What is missing, as steps in the order in which they have to be taken.
fn survey(host: &Host, programs: &[Package]) -> Result<Vec<Step>> {
    let compiler = toolchain::compiler_step()?;
    let linker = toolchain::linker_step();
    let mut wanted = programs.to_vec();
    if linker.is_some() {
        wanted.extend(packages::FOR_LINKER);
    }
    let packages = packages::step(&wanted, host);
    let lints = toolchain::lints_step();
    Ok([packages, compiler, linker, lints].into_iter().flatten().collect())
}

fn install(steps: &[Step], host: &Host, programs: &[Package]) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        let label = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        let mut progress = Progress::start(label);
        let result = step.take(&mut progress);
        progress.finish(if result.is_ok() { "done" } else { "failed" });
        result.with_context(|| format!("setup could not install {}", step.name))?;
    }
    let left = survey(host, programs)?;
    let names: Vec<_> = left.iter().map(|step| step.name.as_str()).collect();
    ensure!(
        left.is_empty(),
        "every step of setup has ended well, and yet this is missing: {}; \
         `cargo xtask setup --check` shows the commands to try by hand",
        names.join("; ")
    );
    Ok(())
}

fn report() -> Result<()> {
    let Toolchain { linker, compiler } = Toolchain::find()?;
    println!("compiler  {compiler}");
    println!("linker    {linker}");
    println!("bpffs     {}", bpffs());
    println!("ready");
    Ok(())
}

fn bpffs() -> &'static str {
    // Written by the kernel; a line is "source target type ...".
    let mounts = std::fs::read_to_string(Path::new("/proc/mounts")).unwrap_or_default();
    let mounted = mounts.lines().any(|line| line.contains(" /sys/fs/bpf bpf "));
    if mounted {
        "mounted at /sys/fs/bpf"
    } else {
        "not mounted at /sys/fs/bpf; lbd and the tests mount their own"
    }
}
