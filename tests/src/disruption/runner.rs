//! A scenario from its beginning to its verdict.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    actor::Actor,
    footprint::Footprint,
    network::Network,
    report::Kind,
    scenario::{Scenario, Step},
    strangers,
    traffic::Traffic,
    verdict::{Record, Verdict},
};
use crate::{clock, error::RigError};

/// Told what happens while it does.
pub trait Progress {
    /// Something worth a line, so long after the start.
    fn tell(&mut self, at: Duration, what: &str);
}

/// Says nothing.
impl Progress for () {
    fn tell(&mut self, _at: Duration, _what: &str) {}
}

/// Time to open all flows.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the client's output is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Counts while nothing else happens.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// For what lbd gives back after a while.
const LEAK_PATIENCE: Duration = Duration::from_secs(15);

/// Runs a scenario.
///
/// # Errors
/// If the network cannot be built or a step cannot be done. What the network did with the flows is
/// no error but in the verdict.
pub fn run(
    scenario: &Scenario,
    progress: &mut dyn Progress,
    after: After,
) -> Result<Verdict, RigError> {
    let mut actor = Actor::new(Network::new(scenario)?);
    let network = &actor.network;
    let traffic = Traffic::start(network.client(), &network.demand())?;
    let ready = traffic.wait_until_ready(PATIENCE);
    ready.inspect_err(|_| eprintln!("{}", network.logs()))?;
    let before = footprints(network)?;
    progress.tell(Duration::ZERO, "all flows are open");
    let record = Course::start(&traffic, progress).run(scenario, &mut actor)?;
    let (events, count) = traffic.finish()?;
    let mut verdict = Verdict::of(scenario, record, &events, count);
    if after == After::Restored {
        verdict.violations.extend(leaks(&actor.network, &before));
    }
    if !verdict.is_good() {
        verdict.notes.push(actor.network.logs());
    }
    Ok(verdict)
}

/// How a scenario leaves the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// In any state.
    Changed,
    /// As it was at first: what lbd holds more than then is a leak.
    Restored,
}

/// The scenario's time, and who is told of it.
struct Course<'a> {
    traffic: &'a Traffic,
    progress: &'a mut dyn Progress,
    start: Instant,
    /// By how much steps have moved.
    late: Duration,
    /// How many of the client's events were told.
    seen: usize,
    /// When counts were last told.
    reported: Instant,
}

impl<'a> Course<'a> {
    fn start(traffic: &'a Traffic, progress: &'a mut dyn Progress) -> Self {
        let start = Instant::now();
        Self { traffic, progress, start, late: Duration::ZERO, seen: 0, reported: start }
    }

    fn run(mut self, scenario: &Scenario, actor: &mut Actor) -> Result<Record, RigError> {
        let mut record = Record {
            started_ms: clock::now_ms(),
            done: Vec::new(),
            victims: Vec::new(),
            strangers: 0,
            notes: Vec::new(),
        };
        let resets = strangers::resets(actor.network.backends());
        for step in &scenario.steps {
            self.wait_until(step.at)?;
            self.act(step, actor, &mut record)?;
        }
        while actor.is_flooded() {
            self.go_on(Duration::from_secs(1))?;
        }
        record.notes = actor.end_floods()?;
        self.go_on(scenario.settings.linger)?;
        record.strangers = strangers::resets(actor.network.backends()) - resets;
        Ok(record)
    }

    fn act(&mut self, step: &Step, actor: &mut Actor, record: &mut Record) -> Result<(), RigError> {
        let began = clock::now_ms();
        self.progress.tell(self.start.elapsed(), &step.action.to_string());
        actor.act(&step.action).inspect_err(|_| failed(step, &actor.network))?;
        let ended = clock::now_ms();
        if let Some(victim) = step.action.victim() {
            record.victims.push((began..=ended, victim));
        }
        record.done.push((began, step.action.to_string()));
        self.late = self.start.elapsed().saturating_sub(step.at);
        Ok(())
    }

    fn go_on(&mut self, time: Duration) -> Result<(), RigError> {
        self.wait_until(self.start.elapsed() - self.late + time)
    }

    fn wait_until(&mut self, at: Duration) -> Result<(), RigError> {
        let end = self.start + at + self.late;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(LOOK_EVERY));
            self.tell_events()?;
            if self.reported.elapsed() > REPORT_EVERY {
                self.reported = Instant::now();
                self.tell_counts()?;
            }
        }
    }

    /// Some of what happened: thousands of flows may do the same at once.
    fn tell_events(&mut self) -> Result<(), RigError> {
        let events = self.traffic.events_from(self.seen)?;
        self.seen += events.len();
        let now = self.start.elapsed();
        for kind in [Kind::Broken, Kind::Misrouted, Kind::Unopened] {
            let events: Vec<_> = events.iter().filter(|event| event.kind == kind).collect();
            if let Some(event) = events.first() {
                self.progress.tell(now, &event.to_string());
            }
            if let more @ 1.. = events.len().saturating_sub(1) {
                self.progress.tell(now, &format!("... and {more} more {}", kind.name()));
            }
        }
        Ok(())
    }

    fn tell_counts(&mut self) -> Result<(), RigError> {
        let count = self.traffic.count()?;
        let text = format!(
            "{} tcp, {} udp, {} answers, {} broken, {} late, longest wait {} ms",
            count.tcp,
            count.udp,
            count.answered,
            count.broken,
            count.stalled,
            count.longest_wait_ms
        );
        self.progress.tell(self.start.elapsed(), &text);
        Ok(())
    }
}

fn failed(step: &Step, network: &Network) {
    eprintln!("line {}, `{}`, cannot be done\n{}", step.line, step.action, network.logs());
}

fn footprints(network: &Network) -> Result<Vec<Footprint>, RigError> {
    let of = |which| {
        let lbd = network.balancer(which).lbd().expect("it was started");
        Footprint::of(network.host(which), lbd.pid())
    };
    network.living().into_iter().map(of).collect()
}

fn leaks(network: &Network, before: &[Footprint]) -> Vec<String> {
    let of = |(which, before): (_, &Footprint)| {
        let Some(lbd) = network.balancer(which).lbd() else {
            return Some(format!("{which}: lbd does not run"));
        };
        let (host, pid) = (network.host(which), lbd.pid());
        let found = Footprint::wait_until_no_more_than(host, pid, before, LEAK_PATIENCE);
        found.err().map(|error| format!("{which}: {error}"))
    };
    network.living().into_iter().zip(before).filter_map(of).collect()
}
