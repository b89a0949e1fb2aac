//! What must hold, whatever happens: judged by counts of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    rc::Rc,
    time::Duration,
};

use lb_userspace::{
    control::{BackendView, Control, Mode, State, Step},
    event::EventKind,
    health::CheckResult,
    model::{BackendName, LastResort, Service, ServiceName},
};

use super::{damping::Points, truth::Truth};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in milliseconds of the seed's story.
    pub at: u64,
    /// Which promise, in a word.
    pub promise: &'static str,
    /// What happened instead.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, promise, what } = self;
        write!(f, "{promise}, after {:.1} s: {what}", *at as f64 / 1000.0)
    }
}

/// What is known of a backend, counted once more.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// The life that this is about.
    generation: u64,
    /// Failures in a row that were heard, and passes.
    failed: u32,
    passed: u32,
    /// Whether, by rise and fall, it is well; `None` before the first result.
    is_well: Option<bool>,
    /// The weight that it had in a slow start, and of which.
    slow: Option<(u16, u16)>,
    /// Whether it went down by silence since somebody was heard.
    is_fallen: bool,
    points: Points,
    /// Since when it has been as it is, really.
    since: u64,
}

/// The promises, and all that they need to know.
pub(super) struct Promises {
    services: BTreeMap<ServiceName, Rc<Service>>,
    is_honest: bool,
    known: BTreeMap<BackendName, Known>,
    /// Since when somebody is or is not cut off.
    cut_off_since: u64,
    was_cut_off: bool,
    /// When failures were last forgiven.
    forgiven_at: u64,
    /// Who was up when the uplink was cut.
    up: BTreeSet<BackendName>,
    /// Which services served then.
    served: BTreeSet<ServiceName>,
    steps_in_a_row: (u64, u32),
    /// Who took flows after the last step.
    pub(super) taking: BTreeMap<BackendName, bool>,
}

/// Steps within a second of a story that is not a loop.
const MOST_STEPS: u32 = 2000;

impl Promises {
    pub(super) fn new(services: Vec<Service>, is_honest: bool) -> Self {
        let services = services.into_iter().map(|service| (service.name.clone(), Rc::new(service)));
        Self {
            services: services.collect(),
            is_honest,
            known: BTreeMap::new(),
            cut_off_since: 0,
            was_cut_off: false,
            forgiven_at: 0,
            up: BTreeSet::new(),
            served: BTreeSet::new(),
            steps_in_a_row: (0, 0),
            taking: BTreeMap::new(),
        }
    }

    /// What counts for a result that is on its way into the control core: passes that bring a backend
    /// up, and failures that take it down. `None` if it belongs to a former life.
    pub(super) fn limits(&self, result: &CheckResult, control: &Control) -> Option<(u32, u32)> {
        let CheckResult { backend, generation, .. } = result;
        let check = self.services.get(&backend.service)?.health_check.as_ref()?;
        let fall = if control.is_on_trial(backend) { 1 } else { check.fall };
        (control.generation(backend) == Some(*generation)).then_some((check.rise, fall))
    }

    /// The control core has taken in a result.
    pub(super) fn heard(
        &mut self,
        result: &CheckResult,
        (rise, fall): (u32, u32),
        control: &Control,
        now: u64,
    ) {
        let is_silent = matches!(&result.outcome, Err(failure) if failure.is_silent());
        match (self.was_cut_off, control.is_cut_off()) {
            (true, false) => {
                self.forgiven_at = now;
                self.known.values_mut().for_each(|known| known.failed = 0);
            }
            (false, true) => {
                let fallen = self.known.values_mut().filter(|known| known.is_fallen);
                fallen.for_each(|known| (known.is_well, known.failed) = (Some(true), 0));
            }
            _ => {}
        }
        self.was_cut_off = control.is_cut_off();
        if !is_silent || control.is_cut_off() {
            self.known.values_mut().for_each(|known| known.is_fallen = false);
        }
        let known = self.known.entry(result.backend.clone()).or_default();
        if known.generation != result.generation {
            // Out of maintenance a new life begins, of which nothing is known; points stay.
            let Known { points, since, .. } = *known;
            *known = Known { generation: result.generation, points, since, ..Known::default() };
        }
        if result.outcome.is_ok() {
            (known.passed, known.failed) = (known.passed + 1, 0);
        } else {
            (known.passed, known.failed) = (0, known.failed + 1);
        }
        let is_blamed = !(is_silent && control.is_cut_off());
        known.is_well = match known.is_well {
            None => Some(result.outcome.is_ok()),
            Some(true) if known.failed >= fall && is_blamed => {
                known.is_fallen = is_silent;
                Some(false)
            }
            Some(false) if known.passed >= rise => Some(true),
            same => same,
        };
    }

    /// How a backend really is has changed.
    pub(super) fn changed(&mut self, name: &BackendName, now: u64) {
        self.known.entry(name.clone()).or_default().since = now;
    }

    /// A backend of this name begins a new life.
    pub(super) fn replaced(&mut self, name: &BackendName, now: u64) {
        self.known.insert(name.clone(), Known { since: now, ..Known::default() });
    }

    /// The uplink was cut, or is whole again.
    pub(super) fn cut_off(&mut self, now: u64) {
        self.cut_off_since = now;
    }

    /// How long it takes at most until all is as it should be.
    pub(super) fn rest(&self) -> u64 {
        let rest = |service: &Service| {
            let check = service.health_check.as_ref().map_or(Duration::ZERO, |check| {
                check.interval * (check.rise + check.fall + 4) + check.timeout
            });
            let recovery = &service.recovery;
            let slow = recovery.slow_start.map_or(Duration::ZERO, |slow| slow.duration);
            let trial = recovery.trial.map_or(Duration::ZERO, |trial| trial.duration);
            let damped = recovery.damping.map_or(Duration::ZERO, |damping| damping.longest);
            let ejected = Duration::from_secs(if service.outlier.is_off() { 0 } else { 400 });
            check * 2 + recovery.hold_down * 2 + slow + trial * 4 + damped + ejected
        };
        let longest = self.services.values().map(|service| rest(service)).max().unwrap_or_default();
        longest.as_millis() as u64 + 5000
    }

    /// Looks at everything after a step.
    pub(super) fn look(
        &mut self,
        control: &Control,
        step: &Step,
        truths: &BTreeMap<BackendName, Truth>,
        is_cut_off: bool,
        now: u64,
    ) -> Result<(), Violation> {
        let violated = |promise, what| Err(Violation { at: now, promise, what });
        if step.next.is_some_and(|next| next <= now) {
            return violated("time goes on", format!("the next step is at {:?}", step.next));
        }
        let (second, steps) = &mut self.steps_in_a_row;
        (*second, *steps) =
            if *second == now / 1000 { (*second, *steps + 1) } else { (now / 1000, 1) };
        if *steps > MOST_STEPS {
            return violated("steps end", format!("{steps} of them within a second"));
        }
        let mut serving = BTreeSet::new();
        for (service, desired) in control.services().values().zip(&step.desired) {
            let views = control.views_of(service);
            let rules = Rc::clone(&self.services[&service.name]);
            let rules = rules.as_ref();
            let weight: u32 = desired.members.iter().map(|member| member.weight).sum();
            let expected: u32 = views.iter().map(|view| u32::from(view.serving_weight())).sum();
            if weight != expected {
                let what = format!("{}: {weight} in the tables, not {expected}", service.name);
                return violated("tables are what is said", what);
            }
            if views.iter().any(|view| view.effective.state.takes_flows()) {
                serving.insert(service.name.clone());
            }
            if control.is_open(&service.name) {
                self.look_at_panic(rules, &views, now)?;
            }
            look_at_ejections(rules, &views, step, now)?;
            for view in &views {
                self.taking.insert(view.name.clone(), view.serving_weight() > 0);
                self.look_at_backend(rules, view, truths, is_cut_off, control, now)?;
            }
        }
        self.look_at_notice(control, is_cut_off, now)?;
        self.look_at_uplink(serving, is_cut_off && control.is_cut_off(), now)
    }

    /// A cut uplink is noticed once every check has had the time to fail.
    fn look_at_notice(
        &mut self,
        control: &Control,
        is_cut_off: bool,
        now: u64,
    ) -> Result<(), Violation> {
        if !is_cut_off {
            let up = self.known.iter().filter(|(name, known)| {
                let is_checked = control.generation(name) == Some(known.generation);
                is_checked && known.is_well == Some(true)
            });
            self.up = up.map(|(name, _)| name.clone()).collect();
            return Ok(());
        }
        let slowest = self.services.values().filter_map(|service| service.health_check.as_ref());
        let slowest = slowest.map(|check| check.interval * check.fall + check.timeout).max();
        let due = self.cut_off_since + slowest.unwrap_or_default().as_millis() as u64 + 1000;
        let is_untouched = self.known.values().all(|known| known.since < self.cut_off_since);
        if self.is_honest && is_untouched && self.up.len() > 1 && now > due && !control.is_cut_off()
        {
            let what = format!("{} were up, and nobody is heard", self.up.len());
            return Err(Violation { at: now, promise: "a cut uplink is noticed", what });
        }
        Ok(())
    }

    fn look_at_backend(
        &mut self,
        rules: &Service,
        view: &BackendView,
        truths: &BTreeMap<BackendName, Truth>,
        is_cut_off: bool,
        control: &Control,
        now: u64,
    ) -> Result<(), Violation> {
        let state = view.effective.state;
        let violated = |promise, what: String| {
            let what = format!("{} is {state} ({}): {what}", view.name, view.effective.reason);
            Err(Violation { at: now, promise, what })
        };
        if view.intent.mode != Mode::Ready && state.takes_flows() {
            return violated("operators win", format!("{:?}", view.intent.mode));
        }
        let known = self.known.entry(view.name.clone()).or_default();
        let slow = view.effective.reason.contains("slow start").then_some(view.effective.weight);
        let whole = view.intent.weight.unwrap_or(view.configured_weight);
        let before = std::mem::replace(&mut known.slow, slow.map(|weight| (weight, whole)));
        if let (Some((weight, same)), Some(now_has)) = (before, slow)
            && same == whole
            && now_has < weight
            && !view.effective.reason.contains("usual")
        {
            return violated("slow start grows", format!("{now_has} after {weight}"));
        }
        if state == State::Up
            && view.effective.weight != whole
            && !view.effective.reason.contains(" %: ")
        {
            return violated("weights are explained", format!("{}", view.effective.weight));
        }
        let is_ejected = view.effective.reason.contains("ejected for");
        let is_well = known.is_well.map(|is_well| is_well && !is_ejected);
        if let (Some(damping), Some(is_well)) = (&rules.recovery.damping, is_well)
            && view.intent.mode != Mode::Maint
        {
            known.points.note(damping, is_well, now);
            if known.points.is_kept_out() && state == State::Up {
                return violated("flap damping", "it went out too often".to_owned());
            }
        }
        if known.is_well == Some(false) && state == State::Up {
            return violated("rise and fall", format!("{} failures in a row", known.failed));
        }
        let Some(check) = &rules.health_check else { return Ok(()) };
        let truth = truths[&view.name];
        let due = check.interval * check.fall + check.timeout + Duration::from_millis(110);
        let since = known.since.max(self.cut_off_since).max(self.forgiven_at);
        let is_late = now > since + due.as_millis() as u64;
        let is_known = known.is_well.is_some();
        let is_clear = self.is_honest && is_known && !is_cut_off && !control.is_cut_off();
        if truth.is_down() && is_clear && is_late && state == State::Up {
            return violated("P5", format!("{truth:?} for {} ms", now - since));
        }
        Ok(())
    }

    /// All serve exactly if too few are well.
    fn look_at_panic(
        &self,
        rules: &Service,
        views: &[BackendView],
        now: u64,
    ) -> Result<(), Violation> {
        let serving: BTreeSet<u8> = views
            .iter()
            .filter(|view| view.effective.state.takes_flows())
            .map(|view| view.priority)
            .collect();
        let violated = |what| Err(Violation { at: now, promise: "panic", what });
        if serving.len() > 1 {
            return violated(format!("{}: priorities {serving:?} serve", rules.name));
        }
        let Some(turn) = serving.first() else { return Ok(()) };
        let of_turn = || views.iter().filter(|view| view.priority == *turn);
        let well = of_turn().filter(|view| view.effective.state == State::Up).count();
        let out = of_turn().filter(|view| view.effective.is_out_for_health).count();
        let in_panic = of_turn().filter(|view| view.effective.state == State::Panic).count();
        let threshold = usize::from(rules.quorum.panic_threshold);
        let is_panic = out > 0
            && (well * 100 < (well + out) * threshold
                || well == 0 && rules.quorum.last_resort == LastResort::All);
        let expected = if is_panic { out } else { 0 };
        if in_panic != expected {
            let name = &rules.name;
            return violated(format!(
                "{name}: {well} well, {out} out, threshold {threshold} %, {in_panic} in panic"
            ));
        }
        Ok(())
    }

    /// While nobody is heard, and that is known, no service loses its last backend.
    fn look_at_uplink(
        &mut self,
        serving: BTreeSet<ServiceName>,
        is_cut_off: bool,
        now: u64,
    ) -> Result<(), Violation> {
        if !is_cut_off {
            self.served = serving;
            return Ok(());
        }
        match self.served.iter().find(|name| !serving.contains(*name)) {
            Some(name) if self.is_untouched(name) => Err(Violation {
                at: now,
                promise: "a cut uplink empties no service",
                what: format!("{name} has nobody left"),
            }),
            _ => Ok(()),
        }
    }

    /// Whether no operator and nobody else has changed a service since the uplink was cut.
    fn is_untouched(&self, service: &ServiceName) -> bool {
        let of_service = self.known.iter().filter(|(name, _)| name.service == *service);
        of_service.map(|(_, known)| known.since).all(|since| since < self.cut_off_since)
    }

    /// Once all has been quiet for long enough everything is as it really is.
    pub(super) fn converged(
        &self,
        control: &Control,
        truths: &BTreeMap<BackendName, Truth>,
        now: u64,
    ) -> Result<(), Violation> {
        for view in control.views() {
            let state = view.effective.state;
            let what = format!("{} is {state} ({})", view.name, view.effective.reason);
            let violated = |what| Err(Violation { at: now, promise: "convergence", what });
            let weight = view.intent.weight.unwrap_or(view.configured_weight);
            let is_meant = view.intent.mode == Mode::Ready && weight > 0;
            match truths[&view.name] {
                Truth::Well if is_meant => {
                    if !matches!(state, State::Up | State::Standby) {
                        return violated(format!("{what}, but well"));
                    }
                    if view.effective.weight != weight {
                        let has = view.effective.weight;
                        return violated(format!("{what} with {has} of {weight}"));
                    }
                }
                Truth::Refuses if state == State::Up => {
                    return violated(format!("{what}, but refuses"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// No more than the share is ejected, of those who would take flows when it is decided: they do, or
/// did before this step.
fn look_at_ejections(
    rules: &Service,
    views: &[BackendView],
    step: &Step,
    now: u64,
) -> Result<(), Violation> {
    let of_service = step.events.iter().filter(|event| {
        event.kind == EventKind::BackendState && event.service.as_ref() == Some(&rules.name)
    });
    let turned =
        |word: &str| of_service.clone().filter(|it| it.to.as_deref() == Some(word)).count();
    // Others have been ejected before, when more may have taken part, and it only shows now.
    let is_new = of_service.clone().any(|event| {
        let took_part = matches!(event.from.as_deref(), Some("up" | "standby"));
        event.to.as_deref() == Some("ejected") && took_part
    });
    if !is_new {
        return Ok(());
    }
    let is_ejected = |view: &&BackendView| view.effective.reason.contains("ejected for");
    let ejected = views.iter().filter(is_ejected).count();
    let takes_part = |view: &&BackendView| {
        let state = view.effective.state;
        state.takes_flows() || matches!(state, State::Ejected | State::Standby)
    };
    let pool = views.iter().filter(takes_part).count() + turned("down");
    let most = rules.outlier.most_ejected(pool);
    if ejected > most {
        let what = format!("{}: {ejected} of {pool}, at most {most}", rules.name);
        return Err(Violation { at: now, promise: "the ejection limit", what });
    }
    Ok(())
}
