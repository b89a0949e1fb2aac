//! `cargo xtask simulate`: the control core through years of failures, seed by seed.

use std::{
    io::{IsTerminal as _, Write as _},
    num::NonZero,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use lb_tests::simulation::{self, Sabotage, Story, Violation};

/// Drive the control core through years of failures and look at its promises
#[derive(Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Break this of the control core on purpose, to see that it is noticed
    #[arg(long, value_enum)]
    broken: Option<Broken>,
    /// Tell the first seed's story line by line, instead of all
    #[arg(long)]
    tell: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Broken {
    /// Nobody is kept out by flap damping
    Damping,
    /// All may be ejected
    EjectionLimit,
    /// It takes a failure more to go down
    Fall,
    /// Nobody serves who is not well
    Panic,
    /// Nobody can notice that all are silent
    Uplink,
}

impl From<Broken> for Sabotage {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Damping => Self::Damping,
            Broken::EjectionLimit => Self::EjectionLimit,
            Broken::Fall => Self::Fall,
            Broken::Panic => Self::Panic,
            Broken::Uplink => Self::Uplink,
        }
    }
}

/// Each of so many seeds is told twice: once more as it was, or with nobody touching the wall clock.
const TOLD_TWICE: u64 = 20;

/// Violations after which it is no use to go on.
const ENOUGH: usize = 10;

/// What all stories came to.
#[derive(Default)]
struct Sum {
    milliseconds: u64,
    results: u64,
    steps: u64,
    changes: u64,
    violations: Vec<(u64, Violation)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.tell {
        return tell_one(&arguments);
    }
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> =
            (0..workers).map(|_| scope.spawn(|| work(&arguments, &next, &sum))).collect();
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            show_progress(next.load(Ordering::Relaxed).min(arguments.seeds), arguments.seeds);
            thread::sleep(Duration::from_millis(200));
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&arguments, &sum, begun.elapsed())
}

fn work(arguments: &Arguments, next: &AtomicU64, sum: &Mutex<Sum>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= arguments.seeds {
            return;
        }
        let seed = arguments.from + number;
        let told = tell(seed, arguments.broken.map(Sabotage::from));
        let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Ok(story) => {
                sum.milliseconds += story.milliseconds;
                sum.results += story.results;
                sum.steps += story.steps;
                sum.changes += story.changes;
            }
            Err(violation) => sum.violations.push((seed, violation)),
        }
        if sum.violations.len() >= ENOUGH {
            return;
        }
    }
}

fn tell(seed: u64, sabotage: Option<Sabotage>) -> Result<Story, Violation> {
    let story = simulation::run(seed, sabotage, true, None)?;
    let (again, promise) = match seed % TOLD_TWICE {
        0 => (simulation::run(seed, sabotage, true, None)?, "the same inputs give the same steps"),
        1 => (simulation::run(seed, sabotage, false, None)?, "the wall clock decides nothing"),
        _ => return Ok(story),
    };
    if again.digest == story.digest {
        return Ok(story);
    }
    let what = "the story told again is another".to_owned();
    Err(Violation { at: story.milliseconds, promise, what })
}

fn tell_one(arguments: &Arguments) -> ExitCode {
    const fn seconds(milliseconds: u64) -> f64 {
        Duration::from_millis(milliseconds).as_secs_f64()
    }
    fn aloud(at: u64, line: &str) {
        println!("{:>10.3} {line}", seconds(at));
    }
    match simulation::run(arguments.from, arguments.broken.map(Sabotage::from), true, Some(aloud)) {
        Ok(story) => {
            println!("{story:?}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {}: {violation}", arguments.from);
            ExitCode::FAILURE
        }
    }
}

fn show_progress(done: u64, all: u64) {
    let mut screen = std::io::stderr();
    if screen.is_terminal() {
        // A terminal that is gone needs no progress.
        let _ = write!(screen, "\r{done} of {all} seeds ({} %) ", done * 100 / all.max(1));
        let _ = screen.flush();
    }
}

fn report(arguments: &Arguments, sum: &Sum, took: Duration) -> ExitCode {
    if std::io::stderr().is_terminal() {
        eprint!("\r{:40}\r", "");
    }
    let hours = sum.milliseconds as f64 / 3_600_000.0;
    println!(
        "{} seeds from {}: {:.1} years ({hours:.0} hours), {} results of checks, {} steps, {} changes of \
         state, in {:.1} s",
        arguments.seeds,
        arguments.from,
        hours / 8766.0,
        sum.results,
        sum.steps,
        sum.changes,
        took.as_secs_f64()
    );
    for (seed, violation) in sum.violations.iter().take(ENOUGH) {
        println!("seed {seed}: {violation}");
    }
    if sum.violations.is_empty() {
        println!("no promise was broken");
        ExitCode::SUCCESS
    } else {
        println!("promises were broken; again: cargo xtask simulate --from SEED --seeds 1");
        ExitCode::FAILURE
    }
}
