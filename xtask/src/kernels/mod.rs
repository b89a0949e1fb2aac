//! `cargo xtask kernels`: the same tests on every kernel that lb promises to run on.
//!
//! Debian's kernels are fetched, and each is booted in an emulated machine whose file system is
//! made of this machine's programs, the kernel's modules and our tests. The machine says on a
//! serial port what became of the tests. Nothing of it needs root.

mod apt;
mod archive;
mod budget;
mod built;
mod grid;
mod guest;
mod image;
mod kernel;
mod mirror;
mod quiet;
mod report;
mod series;
mod task;
mod transcript;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, builder::FalseyValueParser};

use self::{
    budget::{Budgets, Counted},
    guest::Guest,
    image::Common,
    kernel::Kernel,
    mirror::Mirror,
    report::Report,
    series::{Expectation, Series},
    transcript::Finished,
};
use crate::{
    command::{target_directory, workspace},
    setup,
};

/// Load and test the programs on old and new kernels, emulated
#[derive(Args)]
pub(crate) struct Kernels {
    /// A kernel to test on; all of them, if none is named
    #[arg(long = "kernel", value_name = "SERIES")]
    series: Vec<Series>,
    /// Record the numbers of instructions as the new budget
    #[arg(long, env = "LB_TEST_BLESS", value_parser = FalseyValueParser::new())]
    bless: bool,
    /// A mirror of Debian's archive to take kernels from, if apt here knows none
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

impl Kernels {
    /// Boots the kernels one after the other, and judges when all have ended.
    pub(crate) fn run(self) -> Result<ExitCode> {
        ensure!(
            cfg!(target_arch = "x86_64"),
            "the kernels and the emulated machine are for x86-64"
        );
        setup::ensure_for_kernels()?;
        let mirror = Mirror::find(self.mirror.as_deref())?;
        let kernels: Vec<_> = self
            .chosen()
            .into_iter()
            .map(|series| fetch(series, &mirror))
            .collect::<Result<_>>()?;
        let logs = target_directory()?.join("kernels");
        fs::create_dir_all(&logs).with_context(|| logs.display().to_string())?;
        let common = Common::gather(&built::build()?, &logs)?;
        let reports: Vec<_> = kernels
            .iter()
            .map(|(series, kernel)| examine(*series, kernel, &common, &logs))
            .collect();
        self.judge(&reports, &logs)
    }

    fn chosen(&self) -> Vec<Series> {
        let is_chosen = |series: &Series| self.series.is_empty() || self.series.contains(series);
        Series::ALL.into_iter().filter(is_chosen).collect()
    }

    fn judge(&self, reports: &[Report], logs: &Path) -> Result<ExitCode> {
        let path = budgets_file();
        let mut budgets = read(&path)?;
        print!("{}", report::tables(reports, &budgets));
        if self.bless {
            let all = self.series.is_empty();
            record(reports, all, &mut budgets);
            fs::write(&path, budgets.text()).with_context(|| path.display().to_string())?;
            println!("\nrecorded in {}", path.display());
        }
        let complaints: Vec<_> =
            reports.iter().flat_map(|report| report::complaints(report, &budgets)).collect();
        for unknown in unknown(reports, &budgets) {
            println!("\n{unknown}: no budget is recorded for this kernel and compiler");
        }
        for complaint in &complaints {
            eprintln!("\n{complaint}");
        }
        if complaints.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!(
            "\nAll output is in {}. If more instructions are wanted: cargo xtask kernels --bless",
            logs.display()
        );
        Ok(ExitCode::FAILURE)
    }
}

fn fetch(series: Series, mirror: &Mirror) -> Result<(Series, Kernel)> {
    let kernel = Kernel::fetch(series, mirror)?;
    eprintln!("{series}: linux {}, package {}", kernel.release, kernel.package);
    Ok((series, kernel))
}

fn examine(series: Series, kernel: &Kernel, common: &Common, logs: &Path) -> Report {
    eprintln!("== linux {}", kernel.release);
    let expectation = series.expectation();
    let (tasks, failure) = match run_guest(kernel, expectation, common, logs) {
        Ok(tasks) => (tasks, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}"))),
    };
    let counted = (expectation == Expectation::Works && failure.is_none()).then(|| {
        let lines: Vec<_> = tasks.iter().flat_map(|task| task.report.clone()).collect();
        Counted::of_report(&lines)
    });
    let name = format!("{} of package {}", kernel.release, kernel.package);
    // That there are no numbers is a failure of the task that counts them.
    let counted = counted.and_then(Result::ok);
    Report { series: kernel.series(), name, expectation, tasks, failure, counted }
}

fn run_guest(
    kernel: &Kernel,
    expectation: Expectation,
    common: &Common,
    logs: &Path,
) -> Result<Vec<Finished>> {
    let image = logs.join(format!("{}.cpio", kernel.series()));
    let content = common.with(kernel, expectation)?;
    fs::write(&image, content).with_context(|| image.display().to_string())?;
    let guest = Guest { kernel, image: &image, logs };
    let tasks = guest.run(|task| {
        let (name, outcome) = (&task.name, task.outcome());
        eprintln!("   {name:<14}{outcome:<8}{:.1} s", task.took.as_secs_f64());
    });
    // As large as all programs together.
    fs::remove_file(&image).with_context(|| image.display().to_string())?;
    tasks
}

/// Records what was counted; after a run with all kernels, no others are left on record.
fn record(reports: &[Report], all: bool, budgets: &mut Budgets) {
    for report in reports {
        if let Some(counted) = &report.counted {
            budgets.record(&report.series, counted);
        }
    }
    if all {
        let series: Vec<_> = reports.iter().map(|report| report.series.clone()).collect();
        budgets.keep(&series);
    }
}

fn unknown<'a>(reports: &'a [Report], budgets: &Budgets) -> Vec<&'a str> {
    let is_unknown = |report: &&Report| {
        let counted = report.counted.as_ref();
        counted.is_some_and(|counted| !budgets.know(&report.series, &counted.compiler))
    };
    reports.iter().filter(is_unknown).map(|report| report.series.as_str()).collect()
}

fn budgets_file() -> PathBuf {
    workspace().join("tests/kernel-budgets.txt")
}

fn read(path: &Path) -> Result<Budgets> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Budgets::parse(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budgets_on_record_can_be_read() {
        let budgets = read(&budgets_file()).expect("a file of the repository");
        assert_eq!(Budgets::parse(&budgets.text()).expect("as written"), budgets);
    }
}
