//! `cargo xtask fuzz host`: libFuzzer over the packet core's host build.
//!
//! libFuzzer is compiled into the target by the crate libfuzzer-sys, and the instrumentation that
//! it needs is LLVM's, which the stable compiler has as well. So neither cargo-fuzz nor a nightly
//! is needed, only a C++ compiler.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::progress::{Found, follow};
use crate::command::{cargo, run, target_directory, workspace};

/// How long, in one of two units.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct Host {
    /// For how many minutes
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// For how many seconds
    #[arg(long)]
    seconds: Option<u64>,
}

/// Longer entries say nothing that shorter ones cannot.
const LONGEST_ENTRY: &str = "-max_len=4096";

impl Host {
    /// Builds the target, runs it, and adds what it found to the corpus, as little as it takes.
    pub(super) fn run(self) -> Result<ExitCode> {
        let time = Duration::from_secs(self.seconds.unwrap_or(self.minutes * 60));
        let folder = target_directory()?.join("fuzz");
        let [found, seeds, crashes] = ["found", "seeds", "crashes"].map(|name| folder.join(name));
        for folder in [&found, &seeds, &crashes] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let target = build(&folder)?;
        let corpus = workspace().join("tests/corpus");
        let fuzzer = Fuzzer { target, crashes, seeds };
        let start = Instant::now();
        eprintln!("== fuzzing the packet core for {} s", time.as_secs());
        let result = fuzzer.search(time, &found, &corpus)?;
        let before = files(&corpus)?;
        fuzzer.keep(&corpus, &found)?;
        let kept = files(&corpus)?;
        println!(
            "host: {} executions, {} edges covered, {} crashes, {} entries in the corpus ({} new), {:.1} s",
            result.executions,
            result.edges,
            u8::from(result.crash.is_some()),
            kept,
            kept.saturating_sub(before),
            start.elapsed().as_secs_f64()
        );
        let Some(crash) = result.crash else { return Ok(ExitCode::SUCCESS) };
        println!(
            "the input is {crash}; in the kernel and on the host: \
             LB_TEST_CORPUS={crash} cargo test -p lb-tests --test corpus"
        );
        Ok(ExitCode::FAILURE)
    }
}

/// The target, and where it puts things.
struct Fuzzer {
    target: PathBuf,
    crashes: PathBuf,
    seeds: PathBuf,
}

impl Fuzzer {
    /// Searches on from everything that is there; new entries go to `found`.
    fn search(&self, time: Duration, found: &Path, corpus: &Path) -> Result<Found> {
        let mut command = self.command();
        command.arg(format!("-max_total_time={}", time.as_secs().max(1)));
        command.args(["-print_final_stats=1", "-print_funcs=0"]);
        command.args([found, corpus, &self.seeds]).stderr(Stdio::piped());
        follow(&mut command)
    }

    /// Adds entries to the corpus, the shortest first, until it covers what was found.
    fn keep(&self, corpus: &Path, found: &Path) -> Result<()> {
        let mut command = self.command();
        // Edges alone, not how often each was taken: the corpus stays small.
        command.args(["-merge=1", "-use_counters=0"]).args([corpus, found, &self.seeds]);
        let output = command.output().context("cannot start the fuzzer to merge")?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the corpus could not be merged:\n{message}");
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.target);
        command.arg(LONGEST_ENTRY).arg(format!("-artifact_prefix={}/", self.crashes.display()));
        command.env("LB_FUZZ_SEEDS", &self.seeds).env("RUST_BACKTRACE", "0");
        command
    }
}

/// Coverage counters and comparisons that libFuzzer reads; and the checks of a debug build, since
/// an overflow that wraps in the kernel is a bug as well.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Builds the target in a folder of its own: with these flags everything is compiled anew.
fn build(folder: &Path) -> Result<PathBuf> {
    ensure_compiler()?;
    let triple = host_triple()?;
    let mut command = cargo();
    command.args(["build", "--release", "-p", "lb-tests", "--features", "fuzz"]);
    // With a target that is named, the flags are not for build scripts.
    command.args(["--bin", "lb-tests-fuzz", "--target", &triple]);
    command.env("CARGO_TARGET_DIR", folder);
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    // Everything that the daemon consists of is compiled too, and is not what has to be fast.
    command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    run("building the packet core for the fuzzer", &mut command)?;
    Ok(folder.join(triple).join("release/lb-tests-fuzz"))
}

fn ensure_compiler() -> Result<()> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let output = Command::new(&compiler).arg("--version").output();
    ensure!(
        output.is_ok_and(|output| output.status.success()),
        "libFuzzer is compiled here and needs a C++ compiler: install g++, or name one in CXX \
         ({} does not run)",
        compiler.display()
    );
    Ok(())
}

fn host_triple() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").current_dir(workspace()).output();
    let text = output.context("cannot start rustc")?.stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(triple) => Ok(triple.to_owned()),
        None => bail!("rustc does not tell its host"),
    }
}

fn files(folder: &Path) -> Result<usize> {
    let files = fs::read_dir(folder);
    Ok(files.with_context(|| format!("cannot read {}", folder.display()))?.count())
}
