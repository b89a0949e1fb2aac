//! How backends that were out come back: when they may, and with how much of their weight.

use std::{collections::BTreeMap, time::Duration};

use super::absence::rename_keys;
use crate::{
    model::{BackendName, Damping, Recovery, ServiceName, SlowStart, Trial},
    outlier::Tally,
};

/// Backends that are or were out for their health. Times are in milliseconds of a clock that only
/// goes forward.
#[derive(Clone, Debug, Default)]
pub(super) struct Returns {
    backends: BTreeMap<BackendName, Return>,
}

/// One backend's way back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Return {
    /// Whether it was well when it was last looked at.
    is_well: bool,
    /// Since when it is out, if it is.
    out_since: Option<u64>,
    /// Since when it takes flows again.
    back_since: Option<u64>,
    /// Points of flap damping at a time.
    points: (f64, u64),
    /// Whether it has so many that it is kept out.
    is_damped: bool,
    /// Connections that were tried since it is back, and those that failed.
    tried: (u32, u32),
    /// Until when it stays out since clients were failed in its trial.
    failed_until: u64,
}

/// A part of a backend's weight, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) percent: u8,
    pub(super) reason: String,
}

impl Returns {
    /// Takes in whether a backend is well by its checks and by its traffic.
    pub(super) fn note(&mut self, name: &BackendName, rules: &Recovery, is_well: bool, now: u64) {
        let Some(known) = self.backends.get_mut(name) else {
            // Nobody has seen it well: that it is out is no flap.
            let out_since = (!is_well).then_some(now);
            self.backends.insert(name.clone(), Return { is_well, out_since, ..Return::default() });
            return;
        };
        let was_well = std::mem::replace(&mut known.is_well, is_well);
        match (known.out_since, was_well, is_well) {
            // Also while it is kept out: its points grow, as in RFC 2439.
            (_, true, false) => known.go_out(rules.damping.as_ref(), now),
            (Some(_), _, true) if known.wait(rules, now).is_none() => {
                known.is_damped = false;
                (known.out_since, known.back_since, known.tried) = (None, Some(now), (0, 0));
            }
            _ => {}
        }
    }

    /// Takes in a backend that is new to a service which has others: it begins as one that returns.
    pub(super) fn welcome(&mut self, name: &BackendName, now: u64) {
        let back = Return { is_well: true, back_since: Some(now), ..Return::default() };
        self.backends.entry(name.clone()).or_insert(back);
    }

    /// Why a backend that is well stays out.
    pub(super) fn held(&self, name: &BackendName, rules: &Recovery, now: u64) -> Option<String> {
        let known = self.backends.get(name)?;
        known.out_since?;
        known.wait(rules, now).map(|(_, reason)| reason)
    }

    /// The part of its weight that a backend has until it is fully back.
    pub(super) fn share(&self, name: &BackendName, rules: &Recovery, now: u64) -> Option<Share> {
        let since = self.backends.get(name)?.back_since?;
        let mut begin = since;
        if let Some(trial) = rules.trial {
            begin += millis(trial.duration);
            if now < begin {
                let reason = format!("on trial for {}", spoken(trial.duration));
                return Some(Share { percent: trial.weight, reason });
            }
        }
        let slow = rules.slow_start?;
        let elapsed = last_step(&slow, now).saturating_sub(begin);
        (elapsed < millis(slow.duration)).then(|| Share {
            percent: percent(&slow, elapsed),
            reason: format!("slow start of {}", spoken(slow.duration)),
        })
    }

    /// Takes in how clients fared with a backend on trial. True if it has failed them: it is out for
    /// as long again. One that fails may be the client's fault, so it takes some, and more than half.
    pub(super) fn try_out(
        &mut self,
        name: &BackendName,
        rules: &Recovery,
        seen: Tally,
        now: u64,
    ) -> bool {
        let Some(known) = self.backends.get_mut(name) else { return false };
        let seen = seen.clamped();
        let (attempts, failures) = known.tried;
        known.tried =
            (attempts.saturating_add(seen.attempts), failures.saturating_add(seen.failures));
        let (attempts, failures) = known.tried;
        let has_failed = failures >= ENOUGH && u64::from(failures) * 2 > u64::from(attempts);
        if has_failed {
            known.fail_trial(rules, now);
        }
        has_failed
    }

    /// Forgets what is held against a backend.
    pub(super) fn pardon(&mut self, name: &BackendName) {
        self.backends.remove(name);
    }

    /// Whether a backend is back on trial.
    pub(super) fn is_on_trial(&self, name: &BackendName, rules: &Recovery, now: u64) -> bool {
        let since = self.backends.get(name).and_then(|known| known.back_since);
        let over = |trial: &Trial| {
            since.is_some_and(|since| now.saturating_sub(since) < millis(trial.duration))
        };
        rules.trial.as_ref().is_some_and(over)
    }

    /// When something of this changes next for a backend by time alone.
    pub(super) fn deadline(&self, name: &BackendName, rules: &Recovery, now: u64) -> Option<u64> {
        let known = self.backends.get(name)?;
        if known.out_since.is_some() {
            return known.wait(rules, now).map(|(until, _)| until);
        }
        let since = known.back_since?;
        let trial = rules.trial.map_or(0, |trial| millis(trial.duration));
        if now < since + trial {
            return Some(since + trial);
        }
        let (slow, begin) = (rules.slow_start?, since + trial);
        let last = last_step(&slow, now);
        (last.saturating_sub(begin) < millis(slow.duration)).then(|| last + step(&slow))
    }

    /// What is known of services goes on under other names; `None` is the end of it.
    pub(super) fn rename(&mut self, renamed: impl Fn(&ServiceName) -> Option<ServiceName>) {
        rename_keys(&mut self.backends, renamed);
    }

    /// Forgets backends that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(&BackendName) -> bool) {
        self.backends.retain(|name, _| is_there(name));
    }
}

/// Connections that a backend must have failed before its trial is over.
const ENOUGH: u32 = 3;

impl Return {
    fn fail_trial(&mut self, rules: &Recovery, now: u64) {
        self.go_out(rules.damping.as_ref(), now);
        self.failed_until = now + rules.trial.map_or(0, |trial| millis(trial.duration));
    }

    fn go_out(&mut self, damping: Option<&Damping>, now: u64) {
        (self.out_since, self.back_since) = (Some(now), None);
        if let Some(damping) = damping {
            let points = (self.points_now(damping, now) + 1.0).min(damping.ceiling());
            self.points = (points, now);
            self.is_damped |= points >= damping.limit;
        }
    }

    fn points_now(&self, damping: &Damping, now: u64) -> f64 {
        let (points, at) = self.points;
        damping.faded(points, now.saturating_sub(at))
    }

    /// Until when it must wait, and why; `None` if it need not.
    fn wait(&self, rules: &Recovery, now: u64) -> Option<(u64, String)> {
        let held_until = self.out_since.unwrap_or(now).saturating_add(millis(rules.hold_down));
        let damped_until = rules.damping.as_ref().filter(|_| self.is_damped).map(|damping| {
            let (points, at) = self.points;
            at.saturating_add(damping.wait(points))
        });
        [
            damped_until.map(|until| (until, "flap damping: it goes out too often".to_owned())),
            Some((self.failed_until, "its trial failed: clients' connections did".to_owned())),
            Some((held_until, format!("stays out for {} at least", spoken(rules.hold_down)))),
        ]
        .into_iter()
        .flatten()
        .filter(|(until, _)| *until > now)
        .max_by_key(|(until, _)| *until)
    }
}

/// Parts in which weight grows: each is another table.
const STEPS: u32 = 20;

/// Milliseconds of one.
fn step(slow: &SlowStart) -> u64 {
    millis(slow.duration / STEPS).max(100)
}

/// When the weight grew last. All backends grow at the same times, so that a thousand of them that
/// come back are twenty changes of tables and not twenty thousand.
fn last_step(slow: &SlowStart, now: u64) -> u64 {
    now - now % step(slow)
}

/// Percent of the weight after so many milliseconds.
fn percent(slow: &SlowStart, elapsed: u64) -> u8 {
    let part = elapsed as f64 / millis(slow.duration) as f64;
    let percent = (100.0 * part.powf(1.0 / slow.aggression)) as u8;
    percent.clamp(slow.from, 100)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn spoken(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(time)
}
