//! What libFuzzer says while it runs, and what of it people want to know.

use std::{
    io::{BufRead as _, BufReader},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// What a search came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// How often the target ran.
    pub(super) executions: u64,
    /// Places in the code that were reached.
    pub(super) edges: u64,
    /// The file of the input that the target did not stand.
    pub(super) crash: Option<String>,
}

/// Time between two lines of progress.
const PAUSE: Duration = Duration::from_secs(5);

/// How lines begin that tell nobody anything: libFuzzer misses the functions of sanitizers, which
/// are not in use, and recommends a dictionary.
const CHATTER: [&str; 6] = ["INFO:", "WARNING: Failed to find", "stat::", "Done ", "######", "\""];

/// Runs a fuzzer whose standard error is piped; tells of it now and then, and at once what it says
/// about a crash.
pub(super) fn follow(command: &mut Command) -> Result<Found> {
    let mut child = command.spawn().context("cannot start the fuzzer")?;
    let stderr = child.stderr.take().context("the fuzzer's standard error is not piped")?;
    let (mut found, mut shown) = (Found::default(), Instant::now());
    // A panic's message may quote bytes of any kind.
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.context("reading what the fuzzer says")?;
        let line = String::from_utf8_lossy(&line);
        if !found.read(&line) {
            eprintln!("{line}");
        } else if shown.elapsed() >= PAUSE {
            shown = Instant::now();
            eprintln!("{} executions, {} edges", found.executions, found.edges);
        }
    }
    let status = child.wait().context("lost the fuzzer")?;
    if !status.success() && found.crash.is_none() {
        bail!("the fuzzer ended without a finding ({status}), see above");
    }
    Ok(found)
}

impl Found {
    /// Takes note of a line; false for one that is not about the search's progress.
    fn read(&mut self, line: &str) -> bool {
        let counter = |name: &str| line.strip_prefix(name)?.trim().parse().ok();
        if let Some(executions) = counter("stat::number_of_executed_units:") {
            self.executions = executions;
        } else if let Some((_, file)) = line.split_once("Test unit written to ") {
            self.crash = Some(file.trim().to_owned());
        } else if let Some((executions, rest)) = status(line) {
            self.executions = executions;
            self.edges = after(rest, "cov: ").unwrap_or(self.edges);
        } else {
            return CHATTER.iter().any(|start| line.starts_with(start));
        }
        true
    }
}

/// A line like `#8192 pulse  cov: 120 ft: 300 corp: 20/1Kb exec/s: 4096 rss: 30Mb`.
fn status(line: &str) -> Option<(u64, &str)> {
    let (number, rest) = line.strip_prefix('#')?.split_once(['\t', ' '])?;
    Some((number.parse().ok()?, rest))
}

fn after(text: &str, name: &str) -> Option<u64> {
    text.split_once(name)?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_counted_and_the_rest_is_shown() {
        let mut found = Found::default();
        assert!(found.read("INFO: Seed: 1"));
        assert!(found.read("#8192\tpulse  cov: 120 ft: 300 corp: 20/1Kb exec/s: 4096 rss: 30Mb"));
        assert!(!found.read("thread 'main' panicked at src/lib.rs:1:1:"));
        assert!(found.read("artifact_prefix='/t/'; Test unit written to /t/crash-1"));
        assert!(found.read("stat::number_of_executed_units: 9000"));
        let crash = Some("/t/crash-1".to_owned());
        assert_eq!(found, Found { executions: 9000, edges: 120, crash });
    }
}
