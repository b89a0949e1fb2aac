//! Schedules drawn from a seed.

use std::{collections::BTreeSet, time::Duration};

use super::scenario::{Action, Backend, Checks, Families, Scenario, Settings, Step};

/// A schedule of about this length, the same for the same seed.
///
/// It only does what the promises cover: some backends always serve, at most one at a time is
/// lost, and at the end everything is as it was.
#[must_use]
pub fn scenario(seed: u64, length: Duration) -> Scenario {
    let mut draw = Draw::new(seed);
    let start = Duration::from_secs(1);
    // Time to put everything in order.
    let end = length.saturating_sub(Duration::from_secs(5));
    let mut at = start;
    while at < end {
        at = draw.something(at);
        at += Duration::from_millis(draw.random.u64(100..3000));
    }
    draw.restore(at);
    let mut steps = draw.steps;
    steps.sort_by_key(|step| step.at);
    let settings = settings(&mut draw.random);
    let expectations = super::scenario::Expectations::default();
    let mut scenario = Scenario { settings, steps, expectations };
    if scenario.settings.forward == "nat" {
        // Without the program the machine itself resets what backends answer to its address.
        leave_out(&mut scenario, &["detach".to_owned()]);
    }
    scenario
}

/// What can be left out of a schedule.
pub const KINDS: [&str; 12] = [
    "drain",
    "weight",
    "remove",
    "flap",
    "reload",
    "kill-daemon",
    "crash",
    "restart",
    "upgrade",
    "blink",
    "detach",
    "flush-neighbours",
];

/// Leaves out all steps of some [`KINDS`]. What is left can still be done: what undoes a step is of
/// the same kind.
pub fn leave_out(scenario: &mut Scenario, kinds: &[String]) {
    let is_left_out = |kind: &str| kinds.iter().any(|left_out| left_out == kind);
    // Those that come and go are never there then.
    let is_nobody = |backend: Backend| backend.0 > MEMBERS && is_left_out("remove");
    scenario.steps.retain(|step| {
        !is_left_out(kind(&step.action)) && !step.action.backend().is_some_and(is_nobody)
    });
}

const fn kind(action: &Action) -> &'static str {
    match action {
        Action::Drain(_) | Action::Ready(_) => "drain",
        Action::Weight(..) => "weight",
        Action::Add(_) | Action::Remove(_) => "remove",
        Action::Fail(_) | Action::Recover(_) => "flap",
        Action::Reload | Action::ReloadWeight(..) => "reload",
        Action::KillDaemon | Action::StartDaemon => "kill-daemon",
        Action::Crash => "crash",
        Action::Restart => "restart",
        Action::Upgrade | Action::Downgrade => "upgrade",
        Action::Blink(_) => "blink",
        Action::Detach => "detach",
        Action::FlushNeighbours => "flush-neighbours",
        Action::KillServer(_) | Action::StartServer(_) => "kill-server",
        Action::KillBalancer(_) => "kill-balancer",
        Action::SynFlood(_) => "syn-flood",
    }
}

/// Backends that are configured.
const MEMBERS: u8 = 5;
/// Others that come and go.
const GUESTS: u8 = 3;
/// So many of the members always serve.
const SERVING: usize = 3;

fn settings(random: &mut fastrand::Rng) -> Settings {
    Settings {
        backends: MEMBERS,
        connections: 2000,
        udp: 200,
        new_per_second: 20,
        interval: Duration::from_millis(250),
        // TCP waits twice as long before it sends again each time: for three seconds after a gap of
        // one and a half.
        silence: Duration::from_secs(8),
        forward: ["l2", "ipip", "gue", "nat"][random.usize(..4)].to_owned(),
        families: Families::Both,
        checks: Checks { interval: Duration::from_millis(300), rise: 2, fall: 3 },
        linger: Duration::from_secs(4),
        // Datagrams of a backend that is down go elsewhere if nobody says otherwise.
        udp_service: vec!["on_down = \"keep\"".into()],
        // So few that backends whose places are not given back are soon missed.
        daemon: vec!["max_backends = 96".into(), "max_flows = 4194304".into()],
        ..Settings::default()
    }
}

/// What was drawn so far, and the state that it leads to.
struct Draw {
    random: fastrand::Rng,
    steps: Vec<Step>,
    /// Backends in the services.
    present: BTreeSet<Backend>,
    drained: BTreeSet<Backend>,
    weighted: BTreeSet<Backend>,
    configured: BTreeSet<Backend>,
    is_upgraded: bool,
    /// Until when a server refuses checks.
    failing_until: Duration,
}

impl Draw {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            steps: Vec::new(),
            present: members().collect(),
            drained: BTreeSet::new(),
            weighted: BTreeSet::new(),
            configured: BTreeSet::new(),
            is_upgraded: false,
            failing_until: Duration::ZERO,
        }
    }

    /// Draws what happens at this time; returns when the next may.
    fn something(&mut self, at: Duration) -> Duration {
        let backend = Backend(self.random.u8(1..=MEMBERS + GUESTS));
        let is_present = self.present.contains(&backend);
        // How much of the traffic it may take away at this time.
        let is_spare = self.serving() > SERVING && at >= self.failing_until;
        match self.random.u8(..17) {
            0 | 1 if is_present && is_spare && self.drained.insert(backend) => {
                self.push(at, Action::Drain(backend));
            }
            0..=3 if self.drained.remove(&backend) => self.push(at, Action::Ready(backend)),
            2 | 3 if is_present => {
                let weight = self.random.u16(1..300);
                self.weighted.insert(backend);
                self.push(at, Action::Weight(backend, Some(weight)));
            }
            4 | 5 if is_present && is_spare => {
                self.forget(backend);
                self.present.remove(&backend);
                self.push(at, Action::Remove(backend));
            }
            4..=6 if !is_present => {
                self.present.insert(backend);
                self.push(at, Action::Add(backend));
            }
            7 | 8 if is_present && is_spare => return self.flap(at, backend),
            9 => {
                let member = Backend(self.random.u8(1..=MEMBERS));
                let weight = self.random.u16(1..300);
                self.configured.insert(member);
                self.push(at, Action::ReloadWeight(member, weight));
            }
            10 => self.push(at, Action::Reload),
            11 => {
                self.push(at, Action::KillDaemon);
                let down = Duration::from_millis(self.random.u64(0..3000));
                self.push(at + down, Action::StartDaemon);
                return at + down;
            }
            12 => self.push(at, Action::Crash),
            13 => self.push(at, Action::Restart),
            14 => {
                let time = Duration::from_millis(self.random.u64(20..300));
                self.push(at, Action::Blink(time));
            }
            15 if self.random.bool() => self.push(at, Action::Detach),
            15 => self.push(at, Action::FlushNeighbours),
            16 if self.is_upgraded => {
                self.is_upgraded = false;
                self.push(at, Action::Downgrade);
            }
            16 => {
                self.is_upgraded = true;
                self.push(at, Action::Upgrade);
            }
            // What was drawn cannot be done now.
            _ => return self.something(at),
        }
        at
    }

    /// Checks fail and pass in turn; other things go on meanwhile.
    fn flap(&mut self, at: Duration, backend: Backend) -> Duration {
        let half = Duration::from_millis(self.random.u64(250..2000));
        let mut now = at;
        for _ in 0..self.random.u8(1..6) {
            self.push(now, Action::Fail(backend));
            self.push(now + half, Action::Recover(backend));
            now += 2 * half;
        }
        // And the checks that have to pass.
        self.failing_until = now + Duration::from_secs(2);
        at
    }

    /// Everything as it was at first.
    fn restore(&mut self, at: Duration) {
        let at = at.max(self.failing_until);
        if std::mem::take(&mut self.is_upgraded) {
            self.push(at, Action::Downgrade);
        }
        for backend in std::mem::take(&mut self.drained) {
            self.push(at, Action::Ready(backend));
        }
        for backend in std::mem::take(&mut self.weighted) {
            self.push(at, Action::Weight(backend, None));
        }
        let present = std::mem::take(&mut self.present);
        for backend in members().filter(|member| !present.contains(member)) {
            self.push(at, Action::Add(backend));
        }
        for backend in present.into_iter().filter(|backend| backend.0 > MEMBERS) {
            self.push(at, Action::Remove(backend));
        }
        for backend in std::mem::take(&mut self.configured) {
            self.push(at, Action::ReloadWeight(backend, 100));
        }
    }

    fn forget(&mut self, backend: Backend) {
        self.drained.remove(&backend);
        self.weighted.remove(&backend);
    }

    /// How many take new flows.
    fn serving(&self) -> usize {
        self.present.difference(&self.drained).count()
    }

    fn push(&mut self, at: Duration, action: Action) {
        let line = self.steps.len() + 1;
        self.steps.push(Step { at, line, action });
    }
}

fn members() -> impl Iterator<Item = Backend> {
    (1..=MEMBERS).map(Backend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disruption::{Size, scenario::parse};

    #[test]
    fn the_same_seed_draws_the_same() {
        let length = Duration::from_secs(120);
        assert_eq!(scenario(7, length), scenario(7, length));
        assert_ne!(scenario(7, length).steps, scenario(8, length).steps);
    }

    #[test]
    fn what_is_drawn_can_be_done_and_written_as_a_file() {
        for seed in 0..300 {
            let drawn = scenario(seed, Duration::from_secs(300));
            assert!(drawn.steps.len() > 50, "seed {seed}: {}", drawn.steps.len());
            let text = drawn.to_string();
            let read = parse("drawn", &text, Size::Full);
            let read = read.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            let actions = |scenario: &Scenario| {
                scenario.steps.iter().map(|step| step.action.clone()).collect::<Vec<_>>()
            };
            assert_eq!(actions(&read), actions(&drawn), "seed {seed}");
        }
    }

    #[test]
    fn what_is_left_can_be_done() {
        let drawn = scenario(1, Duration::from_secs(600));
        for left_out in KINDS {
            let mut left = drawn.clone();
            leave_out(&mut left, &[left_out.to_owned()]);
            assert!(left.steps.len() < drawn.steps.len(), "{left_out}");
            parse("left", &left.to_string(), Size::Full)
                .unwrap_or_else(|error| panic!("without {left_out}: {error}"));
        }
    }
}
