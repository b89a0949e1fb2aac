//! Thousands of health checks: how late they begin, what they cost, how evenly they come.

mod listen;
mod report;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use lb_userspace::{
    health::{CheckResult, Checker, Target},
    model::{HealthCheck, Probe},
};
use nix::sys::resource::{UsageWho, getrusage};
use tokio::{
    sync::mpsc,
    time::{interval, sleep},
};

use listen::Listener;
pub use listen::answer;
use report::Report;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// Backends that are checked, each with an address of its own.
    pub targets: u16,
    /// Time from one check of a backend to the next.
    pub interval: Duration,
    /// How long is measured. Before that come five intervals that are not.
    pub time: Duration,
}

/// Results that may wait, as in the daemon.
const QUEUE: usize = 1024;

/// Measures the checker, prints the figures and writes `json`, if asked.
pub fn checks(plan: Checks, json: Option<&Path>) -> anyhow::Result<()> {
    let listener = Listener::start().context("starting what answers the checks")?;
    // As the daemon's.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(measure(plan, listener.port()))?;
    report.print();
    if let Some(path) = json {
        std::fs::write(path, report.json()?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

async fn measure(plan: Checks, port: u16) -> anyhow::Result<Report> {
    let (sender, mut results) = mpsc::channel(QUEUE);
    let mut checker = Checker::new(sender, mpsc::channel(1).0);
    checker.reconcile((0..plan.targets).map(|number| target(plan, number, port)).collect());
    let mut unmeasured = Heard::default();
    unmeasured.listen(&mut results, plan.interval * 5).await?;

    let (counts, cpu, began) = (checker.counts(), cpu_time()?, Instant::now());
    let mut heard = Heard::default();
    heard.listen(&mut results, plan.time).await?;
    let (elapsed, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(cpu));
    let lateness = checker.counts().lateness.since(&counts.lateness);
    let not_made = checker.counts().not_made - counts.not_made;
    Report::new(plan, &lateness, not_made, heard, elapsed, cpu)
}

/// A loopback address of its own for each: all of 127.0.0.0/8 is this machine.
fn target(plan: Checks, number: u16, port: u16) -> Target {
    let [high, low] = number.to_be_bytes();
    let address = IpAddr::from(Ipv4Addr::new(127, 1, high, low));
    Target {
        backend: format!("bench/{address}").parse().expect("a name"),
        generation: 1,
        check: HealthCheck {
            interval: plan.interval,
            fast_interval: plan.interval,
            down_interval: plan.interval,
            timeout: plan.interval,
            ..HealthCheck::new(Probe::Tcp, port)
        },
        destination: SocketAddr::new(address, port),
        tunnel: None,
    }
}

/// What came while somebody listened.
#[derive(Debug, Default)]
struct Heard {
    /// When checks that passed began.
    begun: Vec<Instant>,
    failed: u64,
    /// Most file descriptors that were open.
    descriptors: usize,
}

impl Heard {
    async fn listen(
        &mut self,
        results: &mut mpsc::Receiver<CheckResult>,
        time: Duration,
    ) -> anyhow::Result<()> {
        let end = sleep(time);
        tokio::pin!(end);
        let mut look = interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                _ = look.tick() => {
                    let open = std::fs::read_dir("/proc/self/fd")?.count();
                    self.descriptors = self.descriptors.max(open);
                }
                Some(result) = results.recv() => match result.outcome {
                    Ok(latency) => self.begun.extend(Instant::now().checked_sub(latency)),
                    Err(_) => self.failed += 1,
                },
            }
        }
    }

    /// Most checks that began within any time of this length.
    fn most_within(&mut self, time: Duration) -> usize {
        self.begun.sort_unstable();
        let begun = &self.begun;
        let end = |from: Instant| begun.partition_point(|at| *at < from + time);
        (0..begun.len()).map(|first| end(begun[first]) - first).max().unwrap_or(0)
    }
}

/// Processor time of this process, user and kernel.
fn cpu_time() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("asking for the processor time")?;
    let time = |value: nix::sys::time::TimeVal| {
        Duration::from_secs(value.tv_sec() as u64) + Duration::from_micros(value.tv_usec() as u64)
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_greatest_burst() {
        let start = Instant::now();
        let begun = [0, 300, 350, 399, 400, 900].map(|at| start + Duration::from_millis(at));
        let mut heard = Heard { begun: begun.to_vec(), ..Heard::default() };
        assert_eq!(heard.most_within(Duration::from_millis(100)), 3);
        assert_eq!(heard.most_within(Duration::from_millis(101)), 4);
        assert_eq!(Heard::default().most_within(Duration::from_secs(1)), 0);
    }
}
