//! Running scenarios, from files and from seeds.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::Args;
use lb_tests::disruption::{After, Progress, Scenario, Size, Verdict, random, run};

/// Run scenarios and judge what came of them
#[derive(Args)]
pub(crate) struct Run {
    /// Files of scenarios.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Their short versions.
    #[arg(long)]
    short: bool,
}

/// Draw a schedule from a seed, run it, and judge what came of it
#[derive(Args)]
pub(crate) struct Chaos {
    /// Where to begin; a failure names its seed.
    #[arg(long)]
    seed: Option<u64>,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Connections that are held.
    #[arg(long, default_value_t = 2000)]
    connections: u32,
    /// How packets reach backends; chance decides, if nobody does.
    #[arg(long, value_parser = ["l2", "ipip", "gue", "nat"])]
    forward: Option<String>,
    /// What shall not happen; may be given more than once.
    #[arg(long, value_parser = random::KINDS)]
    without: Vec<String>,
    /// Where the schedule is written if something broke.
    #[arg(long, default_value = ".")]
    failures: PathBuf,
}

/// Lines with times.
struct Screen;

impl Progress for Screen {
    fn tell(&mut self, at: Duration, what: &str) {
        println!("{:>8.2} s  {what}", at.as_secs_f64());
    }
}

impl Run {
    /// Exit code 1 if something was not as promised.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let size = if self.short { Size::Short } else { Size::Full };
        let read = |file: &PathBuf| Ok((file.clone(), Scenario::read(file, size)?));
        // All of them before anything is done.
        let scenarios: Vec<_> = self.files.iter().map(read).collect::<anyhow::Result<_>>()?;
        let mut results = Vec::new();
        for (file, scenario) in scenarios {
            println!("== {}", file.display());
            let verdict = run(&scenario, &mut Screen, After::Changed)?;
            println!("{verdict}");
            results.push((file.display().to_string(), verdict));
        }
        Ok(table(&results))
    }
}

impl Chaos {
    /// Exit code 1 if something was not as promised. Prints the seed first.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let seed = self.seed.unwrap_or_else(new_seed);
        println!("seed {seed}");
        let length = Duration::from_secs_f64(self.minutes * 60.0);
        let mut scenario = random::scenario(seed, length);
        random::leave_out(&mut scenario, &self.without);
        scenario.settings.connections = self.connections;
        if let Some(forward) = &self.forward {
            scenario.settings.forward.clone_from(forward);
        }
        let verdict = match run(&scenario, &mut Screen, After::Restored) {
            Ok(verdict) => verdict,
            Err(error) => {
                self.keep(seed, &scenario)?;
                return Err(error.into());
            }
        };
        println!("{verdict}");
        if !verdict.is_good() {
            if let Some(first) = verdict.first_violation() {
                scenario.steps.retain(|step| step.at <= first);
            }
            self.keep(seed, &scenario)?;
        }
        Ok(table(&[(format!("seed {seed}"), verdict)]))
    }

    /// Writes what led to a failure as a scenario.
    fn keep(&self, seed: u64, scenario: &Scenario) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.failures)?;
        let path = self.failures.join(format!("chaos-{seed}.txt"));
        std::fs::write(&path, scenario.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("what led there: {}", path.display());
        Ok(())
    }
}

fn table(results: &[(String, Verdict)]) -> ExitCode {
    println!(
        "{:44} {:>7} {:>7} {:>9} {:>7} {:>8} {:>9}  promises",
        "scenario", "flows", "broken", "misrouted", "excused", "unopened", "wait ms"
    );
    for (name, verdict) in results {
        println!(
            "{name:44} {:>7} {:>7} {:>9} {:>7} {:>8} {:>9}  {}",
            verdict.flows,
            verdict.broken.len(),
            verdict.misrouted.len(),
            verdict.excused,
            verdict.count.unopened,
            verdict.count.longest_wait_ms,
            if verdict.is_good() { "kept" } else { "NOT KEPT" },
        );
    }
    let is_good = results.iter().all(|(_, verdict)| verdict.is_good());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn new_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed.
    u64::from(now.subsec_nanos() ^ now.as_secs() as u32) % 1_000_000
}
