//! The world around a control core: true conditions, checks, and what becomes of their results.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::IpAddr,
};

use lb_userspace::{
    config::Config,
    control::{Command, Control, Input, Memory, Mode, Moment, Observations, Urgency},
    health::{AgentState, CheckFailure, CheckResult, Pace, Target},
    model::BackendName,
    netlink::Via,
    outlier::{Observation, Tally},
};

use super::{
    plan::{Plan, Sabotage},
    promises::{Promises, Violation},
    truth::Truth,
};

/// Time in which changes are gathered, in milliseconds, as the daemon does.
const GATHER: (u64, u64) = (10, 100);

/// What came of a seed whose promises were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// How long it was, in milliseconds of its own.
    pub milliseconds: u64,
    /// Results of checks that the control core took in.
    pub results: u64,
    /// Steps of the control core.
    pub steps: u64,
    /// Changes of backends' states.
    pub changes: u64,
    /// All that happened, and when, as one number.
    pub digest: u64,
}

/// Something that will happen.
#[derive(Clone, Debug)]
enum Happening {
    /// A check begins, if it is still the one of this number that is due.
    Check(BackendName, u64),
    /// A result arrives.
    Deliver(CheckResult),
    /// What was gathered, or time alone, asks for a step.
    Step,
    /// A period has ended.
    Period,
    /// Something goes wrong, or right again.
    Disturb,
    /// From now on all goes its way.
    Settle,
    /// The end.
    End,
}

struct World<'a> {
    plan: &'a Plan,
    random: fastrand::Rng,
    control: Control,
    promises: Promises,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    number: u64,
    now: u64,
    /// What the wall clock is ahead of the other.
    wall: i64,
    truths: BTreeMap<BackendName, Truth>,
    is_cut_off: bool,
    /// Whether the control core is told that somebody answered when nobody did.
    is_deaf: bool,
    targets: BTreeMap<BackendName, Target>,
    due: BTreeMap<BackendName, u64>,
    /// When the last check of each began.
    begun: BTreeMap<BackendName, u64>,
    tallies: BTreeMap<BackendName, Tally>,
    latencies: BTreeMap<BackendName, std::time::Duration>,
    disturbances: u32,
    is_settled: bool,
    /// Whether anybody but checks had a say since the last step.
    is_touched: bool,
    step_at: Option<u64>,
    hash: DefaultHasher,
    story: Story,
    tell: Option<fn(u64, &str)>,
}

/// Tells the story of a seed, line by line to `tell`, if that is asked for, with the milliseconds since it
/// began. Without `jumps` nobody touches the wall clock, all else is the same.
pub fn run(
    seed: u64,
    sabotage: Option<Sabotage>,
    jumps: bool,
    tell: Option<fn(u64, &str)>,
) -> Result<Story, Violation> {
    let mut random = fastrand::Rng::with_seed(seed);
    let plan = Plan::draw(&mut random);
    let parse = |text: &str| {
        Config::parse("a seed's", text)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"))
    };
    let control = Control::new(parse(&plan.text(sabotage)), Memory::default())
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let promises = Promises::new(parse(&plan.text(None)).services, plan.is_honest());
    let mut world = World {
        plan: &plan,
        random,
        control,
        promises,
        queue: BinaryHeap::new(),
        happenings: BTreeMap::new(),
        number: 0,
        now: 0,
        wall: 1_700_000_000_000,
        truths: BTreeMap::new(),
        is_cut_off: false,
        is_deaf: sabotage == Some(Sabotage::Uplink),
        targets: BTreeMap::new(),
        due: BTreeMap::new(),
        begun: BTreeMap::new(),
        tallies: BTreeMap::new(),
        latencies: BTreeMap::new(),
        disturbances: plan.disturbances,
        is_settled: false,
        is_touched: true,
        step_at: None,
        hash: DefaultHasher::new(),
        story: Story::default(),
        tell,
    };
    world.live(jumps)
}

impl World<'_> {
    fn live(&mut self, jumps: bool) -> Result<Story, Violation> {
        for address in self.control.addresses() {
            self.control.reached(address, Via::Direct);
        }
        let names: Vec<BackendName> = self.control.views().map(|view| view.name).collect();
        self.truths = names.into_iter().map(|name| (name, Truth::Well)).collect();
        self.step()?;
        self.after(self.plan.unit, Happening::Period);
        self.after(self.plan.calm, Happening::Disturb);
        while let Some(Reverse((at, number))) = self.queue.pop() {
            self.now = at;
            let Some(happening) = self.happenings.remove(&number) else { continue };
            if matches!(happening, Happening::End) {
                break;
            }
            self.happen(happening, jumps)?;
        }
        self.promises.converged(&self.control, &self.truths, self.now)?;
        self.story.milliseconds = self.now;
        self.story.digest = self.hash.finish();
        Ok(self.story)
    }

    fn happen(&mut self, happening: Happening, jumps: bool) -> Result<(), Violation> {
        match happening {
            Happening::Check(backend, number) => {
                if self.due.get(&backend) == Some(&number) {
                    self.check(&backend);
                }
            }
            Happening::Deliver(result) => self.deliver(result),
            Happening::Step if self.step_at == Some(self.now) => self.step()?,
            Happening::Period => self.observe(),
            Happening::Disturb => self.disturb(jumps),
            Happening::Settle => self.settle(),
            Happening::Step | Happening::End => {}
        }
        Ok(())
    }

    fn after(&mut self, milliseconds: u64, happening: Happening) -> u64 {
        self.number += 1;
        self.queue.push(Reverse((self.now + milliseconds, self.number)));
        self.happenings.insert(self.number, happening);
        self.number
    }

    fn tell(&self, line: std::fmt::Arguments<'_>) {
        if let Some(tell) = self.tell {
            tell(self.now, &line.to_string());
        }
    }

    fn moment(&self) -> Moment {
        Moment { clock: self.now, wall: (self.now as i64 + self.wall).max(0) as u64 }
    }

    fn check(&mut self, backend: &BackendName) {
        let Some(target) = self.targets.get(backend).cloned() else {
            self.due.remove(backend);
            return;
        };
        let truth = if self.is_cut_off { Truth::Silent } else { self.truths[backend] };
        let timeout = target.check.timeout;
        let (mut outcome, took) = truth.check(&mut self.random, timeout);
        if self.is_deaf && outcome.as_ref().is_err_and(CheckFailure::is_silent) {
            outcome = Err(CheckFailure::ConnectRefused);
        }
        let result = CheckResult {
            backend: backend.clone(),
            generation: target.generation,
            outcome,
            weight: None,
        };
        self.begun.insert(backend.clone(), self.now);
        let honest = self.is_settled;
        let lot = |random: &mut fastrand::Rng, rate| !honest && random.u16(0..1000) < rate;
        let interval = target.check.interval.as_millis() as u64;
        if lot(&mut self.random, self.plan.doubled) {
            let later = self.random.u64(0..interval * 4);
            self.after(took + later, Happening::Deliver(result.clone()));
        }
        if lot(&mut self.random, self.plan.late) {
            let later = self.random.u64(0..interval * 8);
            self.after(took + later, Happening::Deliver(result));
        } else if !lot(&mut self.random, self.plan.lost) {
            self.after(took, Happening::Deliver(result));
        }
        self.plan_check(backend, &target);
    }

    fn plan_check(&mut self, backend: &BackendName, target: &Target) {
        let check = &target.check;
        let interval = match self.control.pace(backend) {
            Pace::Normal => check.interval,
            Pace::Fast => check.fast_interval,
            Pace::Down => check.down_interval,
        };
        let happening = Happening::Check(backend.clone(), self.number + 1);
        let begun = self.begun.get(backend).copied().unwrap_or(self.now);
        let next = begun + interval.as_millis() as u64;
        let number = self.after(next.saturating_sub(self.now), happening);
        self.due.insert(backend.clone(), number);
    }

    fn deliver(&mut self, result: CheckResult) {
        let backend = result.backend.clone();
        let before = self.control.pace(&backend);
        self.tell(format_args!("{} {:?}", result.backend, result.outcome));
        let limits = self.promises.limits(&result, &self.control);
        self.tally(&result);
        self.story.results += 1;
        self.take(&Input::Checked(result.clone()));
        if let Some(limits) = limits {
            self.promises.heard(&result, limits, &self.control, self.now);
        }
        // A pace that is faster now moves the next check.
        if self.control.pace(&backend) != before
            && let Some(target) = self.targets.get(&backend).cloned()
        {
            self.plan_check(&backend, &target);
        }
    }

    fn tally(&mut self, result: &CheckResult) {
        let tally = self.tallies.entry(result.backend.clone()).or_default();
        tally.attempts += 1;
        tally.failures += u32::from(result.outcome.is_err());
        if let Ok(latency) = result.outcome {
            self.latencies.insert(result.backend.clone(), latency);
        }
    }

    fn take(&mut self, input: &Input) {
        let gather = match self.control.take(input, self.moment()) {
            Urgency::None => return,
            Urgency::Worse => GATHER.0,
            Urgency::Better => GATHER.1,
        };
        self.step_within(gather);
    }

    fn step_within(&mut self, milliseconds: u64) {
        let at = self.now + milliseconds;
        if self.step_at.is_none_or(|before| before > at) {
            self.step_at = Some(at);
            self.after(milliseconds, Happening::Step);
        }
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.step_at = None;
        let step = self.control.step(self.moment());
        self.story.steps += 1;
        for event in &step.events {
            self.tell(format_args!("{event:?}"));
            let Some(backend) = event.backend else { continue };
            self.story.changes += 1;
            (self.now, backend, &event.service, &event.to).hash(&mut self.hash);
        }
        self.promises.look(&self.control, &step, &self.truths, self.is_cut_off, self.now)?;
        if let Some(next) = step.next {
            self.step_within(next - self.now);
        }
        if !step.events.is_empty() || self.is_touched {
            self.is_touched = false;
            self.follow_targets();
        }
        Ok(())
    }

    /// Begins checks of backends that are new, and ends those of others.
    fn follow_targets(&mut self) {
        let targets = self.control.targets().into_iter();
        self.targets = targets.map(|target| (target.backend.clone(), target)).collect();
        let new: Vec<BackendName> =
            self.targets.keys().filter(|name| !self.due.contains_key(*name)).cloned().collect();
        for name in new {
            let first = self.random.u64(0..100);
            let number = self.after(first, Happening::Check(name.clone(), self.number + 1));
            self.due.insert(name, number);
        }
        self.due.retain(|name, _| self.targets.contains_key(name));
    }

    fn observe(&mut self) {
        self.after(self.plan.unit, Happening::Period);
        let mut seen = Observations::new();
        for (name, truth) in &self.truths {
            if !self.control.services()[&name.service].watches_traffic() {
                continue;
            }
            let takes_flows = self.promises.taking.get(name).is_some_and(|takes| *takes);
            let is_reached = takes_flows && !self.is_cut_off;
            let attempts = if is_reached { self.random.u32(5..20) } else { 0 };
            let failures = truth.failures(&mut self.random, attempts);
            let observation = Observation {
                checks: self.tallies.remove(name).unwrap_or_default(),
                check_latency: self.latencies.remove(name),
                traffic: Tally { attempts, failures },
                handshake: None,
            };
            seen.entry(name.service.clone()).or_default().insert(name.address, observation);
        }
        if !seen.is_empty() {
            self.take(&Input::Observed(seen));
        }
    }

    fn disturb(&mut self, jumps: bool) {
        self.disturbances -= 1;
        self.is_touched = true;
        // Now and then all at once.
        let storm = if self.random.u8(0..8) == 0 { self.random.u32(5..30) } else { 1 };
        (0..storm).for_each(|_| self.change_something(jumps));
        self.step_within(0);
        if self.disturbances == 0 {
            self.after(self.plan.calm, Happening::Settle);
        } else {
            let pause = self.random.u64(1..self.plan.calm * 2);
            self.after(pause, Happening::Disturb);
        }
    }

    fn change_something(&mut self, jumps: bool) {
        let names: Vec<BackendName> = self.truths.keys().cloned().collect();
        let name = names[self.random.usize(0..names.len())].clone();
        match self.random.u8(0..16) {
            0..=8 => {
                let truth = Truth::draw(&mut self.random);
                self.tell(format_args!("{name} is {truth:?}"));
                self.promises.changed(&name, self.now);
                self.truths.insert(name, truth);
            }
            9 => self.cut_off(!self.is_cut_off),
            10 => {
                let hours = self.random.i64(-3..4);
                self.wall += if jumps { hours * 3_600_000 } else { 0 };
            }
            11 | 12 => self.operate(&name),
            13 => self.ask_agent(&name),
            14 => self.replace(&name),
            _ => {
                // Another daemon's worth of work: the same configuration once more.
                let config = self.control.config().clone();
                self.control.reload(config).expect("it is in force");
            }
        }
    }

    fn cut_off(&mut self, is_cut_off: bool) {
        self.tell(format_args!("the uplink is {}", if is_cut_off { "cut" } else { "whole" }));
        self.is_cut_off = is_cut_off;
        self.promises.cut_off(self.now);
    }

    fn operate(&mut self, name: &BackendName) {
        let command = match self.random.u8(0..6) {
            0 => Command::SetMode(name.clone(), Mode::Drain),
            1 => Command::SetMode(name.clone(), Mode::Maint),
            2 => Command::SetWeight(name.clone(), Some(self.random.u16(0..200))),
            3 => Command::SetWeight(name.clone(), None),
            _ => Command::SetMode(name.clone(), Mode::Ready),
        };
        self.tell(format_args!("an operator: {command:?}"));
        self.promises.changed(name, self.now);
        self.control.operate(command).expect("it is there");
    }

    /// Agents are rare: what one says is taken in as an operator's word in the promises.
    fn ask_agent(&mut self, name: &BackendName) {
        let word = lb_userspace::health::AgentWord {
            state: Some(match self.random.u8(0..4) {
                0 => AgentState::Down,
                1 => AgentState::Drain,
                _ => AgentState::Up,
            }),
            ..Default::default()
        };
        let generation = self.control.generation(name).unwrap_or_default();
        let result =
            lb_userspace::health::AgentResult { backend: name.clone(), generation, word: Ok(word) };
        // Services of seeds have no agents: it must be ignored.
        self.take(&Input::Asked(result));
    }

    /// A backend goes and another of its name comes: what is on its way of the first must not count.
    fn replace(&mut self, name: &BackendName) {
        self.tell(format_args!("{name} is replaced"));
        let priority = self.control.views().find(|view| view.name == *name);
        let priority = priority.map_or(0, |view| view.priority);
        self.control.operate(Command::RemoveBackend(name.clone())).expect("it is there");
        self.control.operate(Command::AddBackend(name.clone(), 100, priority)).expect("it is not");
        let address: IpAddr = name.address;
        self.control.reached(address, Via::Direct);
        self.due.remove(name);
        self.promises.replaced(name, self.now);
    }

    /// The last word on everything: truths that stay, and nobody in between.
    fn settle(&mut self) {
        self.is_settled = true;
        self.cut_off(false);
        let names: Vec<BackendName> = self.truths.keys().cloned().collect();
        for name in names {
            let truth = if self.random.u8(0..3) == 0 { Truth::Refuses } else { Truth::Well };
            self.promises.changed(&name, self.now);
            self.truths.insert(name, truth);
        }
        let rest = self.promises.rest();
        self.after(rest, Happening::End);
    }
}
