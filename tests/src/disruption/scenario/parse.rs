//! From text to a scenario, or to one sentence on what is wrong.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Action, Backend, Balancer, Expectations, Scenario, ScenarioError, Settings, Size, Step, words,
};

/// Reads a scenario; `file` is for messages.
///
/// # Errors
/// The first line that is wrong, and what is wrong there.
pub fn parse(file: &str, text: &str, size: Size) -> Result<Scenario, ScenarioError> {
    let mut reading = Reading::new(size);
    // Limits hold for all steps, wherever they stand.
    for is_about_limits in [true, false] {
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default();
            let words: Vec<_> = text.split_whitespace().collect();
            let problem = |problem| ScenarioError { file: file.to_owned(), line, problem };
            if (words.first() == Some(&"short")) == is_about_limits && !words.is_empty() {
                reading.statement(line, &words).map_err(problem)?;
            }
        }
    }
    let scenario = reading.finish();
    check(&scenario).map_err(|(line, problem)| ScenarioError {
        file: file.into(),
        line,
        problem,
    })?;
    Ok(scenario)
}

/// What was read so far.
struct Reading {
    size: Size,
    settings: Settings,
    /// Settings that a `short` line has set, by their first word.
    shortened: BTreeSet<String>,
    limits: Limits,
    steps: Vec<Step>,
    /// When the steps of the line before were over.
    end: Duration,
    expectations: Expectations,
}

/// What `short` lines say of steps.
struct Limits {
    repeats: u32,
    flap: Duration,
    syns: u64,
}

impl Reading {
    fn new(size: Size) -> Self {
        Self {
            size,
            settings: Settings::default(),
            shortened: BTreeSet::new(),
            limits: Limits { repeats: u32::MAX, flap: Duration::MAX, syns: u64::MAX },
            steps: Vec::new(),
            end: Duration::ZERO,
            expectations: Expectations::default(),
        }
    }

    fn statement(&mut self, line: usize, words: &[&str]) -> Result<(), String> {
        match words {
            ["short", rest @ ..] => self.shorten(rest),
            ["expect", rest @ ..] => self.expectations.read(rest),
            ["at", time, rest @ ..] => self.step(line, words::time(time)?, rest),
            ["after", time, rest @ ..] => {
                let at = self.end.saturating_add(words::time(time)?);
                self.step(line, at, rest)
            }
            [first, ..] if self.shortened.contains(*first) => {
                // Whether it would be right is still asked.
                Settings::default().read(words).and_then(known(first))
            }
            [first, ..] => self.settings.read(words).and_then(known(first)),
            [] => Ok(()),
        }
    }

    /// A `short` line: also read, and so checked, where the full size is wanted.
    fn shorten(&mut self, words: &[&str]) -> Result<(), String> {
        let mut limits = Limits { ..self.limits };
        match words {
            ["repeats", count] => limits.repeats = words::number(count, 1, u32::MAX)?,
            ["flap", time] => limits.flap = words::time(time)?,
            ["syns", count] => limits.syns = words::number(count, 1, u64::MAX)?,
            [first, ..] => {
                Settings::default().read(words).and_then(known(first))?;
                if self.size == Size::Short {
                    self.settings.read(words)?;
                    self.shortened.insert((*first).to_owned());
                }
            }
            [] => return Err("what shall be short?".into()),
        }
        if self.size == Size::Short {
            self.limits = limits;
        }
        Ok(())
    }

    /// A step at this time, with what may stand before its action.
    fn step(&mut self, line: usize, at: Duration, words: &[&str]) -> Result<(), String> {
        let (every, repeats, words) = match words {
            ["every", time, count, rest @ ..] => {
                let count = count.strip_prefix('x').ok_or("after `every TIME` comes `xNUMBER`")?;
                (words::time(time)?, words::number(count, 1, 1_000_000)?, rest)
            }
            _ => (Duration::ZERO, 1, words),
        };
        let mut start = at;
        for _ in 0..repeats.min(self.limits.repeats) {
            self.round(line, start, words)?;
            start = start.saturating_add(every).max(self.end);
        }
        Ok(())
    }

    /// Actions one after the other, with `;` between them: each as soon as the one before is done.
    fn round(&mut self, line: usize, at: Duration, words: &[&str]) -> Result<(), String> {
        self.end = at;
        for action in words.split(|word| *word == ";") {
            match action {
                ["pause", time] => self.end = self.end.saturating_add(words::time(time)?),
                _ => self.action(line, self.end, action)?,
            }
        }
        Ok(())
    }

    fn action(&mut self, line: usize, at: Duration, words: &[&str]) -> Result<(), String> {
        let mut push = |at, action| {
            self.steps.push(Step { at, line, action });
            self.end = at;
        };
        if let ["flap", name, frequency, time] = words {
            let backend = words::backend(name)?;
            let half = words::period(frequency)? / 2;
            let time = words::time(time)?.min(self.limits.flap);
            let mut passed = Duration::ZERO;
            while passed < time {
                push(at + passed, Action::Fail(backend));
                push(at + passed + half, Action::Recover(backend));
                passed += 2 * half;
            }
            return Ok(());
        }
        let action = match Action::read(words)? {
            Action::SynFlood(count) => Action::SynFlood(count.min(self.limits.syns)),
            action => action,
        };
        push(at, action);
        Ok(())
    }

    fn finish(mut self) -> Scenario {
        self.steps.sort_by_key(|step| step.at);
        let Self { settings, steps, expectations, .. } = self;
        Scenario { settings, steps, expectations }
    }
}

fn known(first: &str) -> impl FnOnce(bool) -> Result<(), String> {
    move |is_known| {
        let problem = || {
            format!(
                "`{first}` begins no statement: settings, `at TIME`, `after TIME`, `expect` and \
                 `short` do; see docs/disruption.md"
            )
        };
        is_known.then_some(()).ok_or_else(problem)
    }
}

/// Steps that cannot be done, in the order in which they would be.
fn check(scenario: &Scenario) -> Result<(), (usize, String)> {
    let mut members: BTreeSet<_> = (1..=scenario.settings.backends).map(Backend).collect();
    let mut balancers = scenario.settings.balancers;
    let mut is_alive = true;
    for Step { line, action, .. } in &scenario.steps {
        let problem = match action {
            Action::Add(backend) if !members.insert(*backend) => {
                Some(format!("{backend} is there already"))
            }
            Action::Remove(backend) if !members.remove(backend) => {
                Some(format!("{backend} is not there to be removed"))
            }
            Action::Drain(backend) | Action::Ready(backend) | Action::Weight(backend, _)
                if !members.contains(backend) =>
            {
                Some(format!("{backend} is not there at that time"))
            }
            Action::KillBalancer(Balancer::Second) if scenario.settings.balancers < 2 => {
                Some("there is no lb2: say `balancers 2`".into())
            }
            Action::KillBalancer(_) if balancers < 2 => Some("no balancer would be left".into()),
            Action::StartDaemon if is_alive => Some("lbd runs already at that time".into()),
            Action::StartDaemon => None,
            Action::Drain(_)
            | Action::Ready(_)
            | Action::Weight(..)
            | Action::Add(_)
            | Action::Remove(_)
            | Action::Reload
            | Action::ReloadWeight(..)
            | Action::KillDaemon
            | Action::Crash
            | Action::Restart
            | Action::Upgrade
            | Action::Downgrade
                if !is_alive =>
            {
                Some("lbd does not run at that time: `start-daemon` first".into())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err((*line, problem));
        }
        match action {
            Action::KillDaemon => is_alive = false,
            Action::StartDaemon => is_alive = true,
            Action::KillBalancer(_) => balancers -= 1,
            _ => {}
        }
    }
    Ok(())
}
