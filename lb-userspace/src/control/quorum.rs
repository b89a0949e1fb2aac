//! Which of a service's backends serve: those whose turn it is, and others when too few are well.

use std::collections::{BTreeMap, BTreeSet};

use super::{BackendView, State};
use crate::model::{LastResort, Priority, Quorum, ServiceName};

/// The priorities of each service that had their quorum at last; a service that is not known may
/// begin with any.
pub(super) type Turns = BTreeMap<ServiceName, BTreeSet<Priority>>;

/// How a service stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The priority that serves; `None` while nobody could.
    pub serving: Option<Priority>,
    /// Whether enough of its backends are well.
    pub has_quorum: bool,
    /// Whether backends get traffic that are not well, since too few are.
    pub panic: bool,
    /// Backends of the priority that serves which are well, and all that are meant to.
    pub well: (u32, u32),
    /// Priorities that have their quorum.
    pub(super) ready: BTreeSet<Priority>,
}

/// Has backends stand by for those whose turn it is, and all of these serve if too few are well.
/// `before` are the priorities that had their quorum until now.
pub(super) fn arrange(
    views: &mut [BackendView],
    quorum: &Quorum,
    before: Option<&BTreeSet<Priority>>,
) -> Standing {
    let well = count(views, |view| view.effective.state == State::Up);
    let meant = count(views, is_meant);
    let all = count(views, |_| true);
    let is_ready = |priority: &Priority| {
        let was_ready = before.is_none_or(|before| before.contains(priority));
        let least = quorum.least + if was_ready { 0 } else { quorum.hysteresis };
        // A pool that has fewer can do no better than all.
        let least = least.min(all.get(priority).copied().unwrap_or_default());
        well.get(priority).is_some_and(|well| *well >= least)
    };
    let ready: BTreeSet<Priority> = meant.keys().copied().filter(is_ready).collect();
    let turn = ready.first().or_else(|| well.keys().next()).or_else(|| meant.keys().next());
    let Some(&serving) = turn else { return Standing { ready, ..Standing::default() } };
    let of = |counts: &BTreeMap<Priority, u32>| counts.get(&serving).copied().unwrap_or_default();
    let (well, meant) = (of(&well), of(&meant));
    let panic = is_panic(quorum, well, meant);
    for view in &mut *views {
        match view.effective.state {
            State::Up if view.priority != serving => stand_by(view, serving),
            State::Down | State::Ejected if panic && view.priority == serving && is_meant(view) => {
                take_part(view, well, meant);
            }
            _ => {}
        }
    }
    let has_quorum = ready.contains(&serving);
    let serving = (well > 0 || panic).then_some(serving);
    Standing { serving, has_quorum, panic, well: (well, meant), ready }
}

/// Whether a backend would take flows if it were well.
const fn is_meant(view: &BackendView) -> bool {
    matches!(view.effective.state, State::Up) || view.effective.is_out_for_health
}

fn count(
    views: &[BackendView],
    is_counted: impl Fn(&BackendView) -> bool,
) -> BTreeMap<Priority, u32> {
    let mut counts = BTreeMap::new();
    for view in views.iter().filter(|view| is_counted(view)) {
        *counts.entry(view.priority).or_default() += 1;
    }
    counts
}

fn is_panic(quorum: &Quorum, well: u32, meant: u32) -> bool {
    let is_below = u64::from(well) * 100 < u64::from(meant) * u64::from(quorum.panic_threshold);
    let is_last = well == 0 && quorum.last_resort == LastResort::All;
    well < meant && (is_below || is_last)
}

fn stand_by(view: &mut BackendView, serving: Priority) {
    view.effective.state = State::Standby;
    view.effective.reason = if view.priority > serving {
        format!("standby: priority {serving} serves")
    } else {
        format!("standby: priority {serving} serves, too few of priority {} are", view.priority)
    };
}

fn take_part(view: &mut BackendView, well: u32, meant: u32) {
    view.effective.state = State::Panic;
    let why = std::mem::take(&mut view.effective.reason);
    view.effective.reason = format!("only {well} of {meant} are well, so all serve; itself: {why}");
}
