//! A control core with a clock, for tests that look at what follows with time.

use std::time::Duration;

use crate::{
    config::Config,
    control::{Control, Input, Memory, Moment, State, Urgency},
    event::{Event, EventKind},
    health::{CheckFailure, CheckResult},
    model::BackendName,
    netlink::Via,
};

/// A service `web` of backends 10.0.1.11 and on.
pub(super) struct Site {
    pub(super) control: Control,
    pub(super) now: u64,
    pub(super) events: Vec<Event>,
}

impl Site {
    /// So many backends; `lines` are tables below the service.
    pub(super) fn new(backends: u8, lines: &str) -> Self {
        let mut site = Self::unchecked(backends, lines);
        (0..backends).for_each(|number| site.pass(number));
        site.events.clear();
        site
    }

    /// The same, before anybody was checked.
    pub(super) fn unchecked(backends: u8, lines: &str) -> Self {
        let text = Self::text(backends, lines);
        let config = Config::parse("lb.toml", &text).expect("valid");
        let mut control = Control::new(config, Memory::default()).expect("room");
        for address in control.addresses() {
            control.reached(address, Via::Direct);
        }
        let mut site = Self { control, now: 0, events: Vec::new() };
        site.step();
        site
    }

    /// The configuration.
    pub(super) fn text(backends: u8, lines: &str) -> String {
        let mut text = format!(
            "[daemon]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nvip = \"10.200.0.1\"\n\
             port = 80\nforward = \"l2\"\n[service.health_check]\ntype = \"tcp\"\ninterval = \"1s\"\n\
             rise = 2\nfall = 3\n{lines}\n"
        );
        for number in 0..backends {
            text += &format!("[[service.backend]]\naddress = \"10.0.1.{}\"\n", 11 + number);
        }
        text
    }

    pub(super) fn name(number: u8) -> BackendName {
        format!("web/10.0.1.{}", 11 + number).parse().expect("a name")
    }

    pub(super) fn at(&self) -> Moment {
        Moment { clock: self.now, wall: 1_700_000_000_000 + self.now }
    }

    pub(super) fn step(&mut self) {
        let step = self.control.step(self.at());
        self.events.extend(step.events);
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        self.step();
    }

    pub(super) fn pass(&mut self, number: u8) {
        self.check(number, Ok(Duration::from_millis(1)));
    }

    /// The backend answers that nobody listens.
    pub(super) fn refuse(&mut self, number: u8) {
        self.check(number, Err(CheckFailure::ConnectRefused));
    }

    /// Nothing at all comes back.
    pub(super) fn silence(&mut self, number: u8) {
        self.check(number, Err(CheckFailure::TimedOut(Duration::from_millis(500))));
    }

    fn check(&mut self, number: u8, outcome: Result<Duration, CheckFailure>) {
        let backend = Self::name(number);
        let targets = self.control.targets();
        let target = targets.into_iter().find(|target| target.backend == backend);
        let generation = target.expect("a target").generation;
        let result = CheckResult { backend, generation, outcome, weight: None };
        // As the daemon does: nothing is put in force that is no news.
        if self.control.take(&Input::Checked(result), self.at()) != Urgency::None {
            self.step();
        }
    }

    pub(super) fn fall(&mut self, number: u8) {
        (0..3).for_each(|_| self.refuse(number));
    }

    pub(super) fn rise(&mut self, number: u8) {
        (0..2).for_each(|_| self.pass(number));
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.control.views().map(|view| view.effective.state).collect()
    }

    pub(super) fn weights(&self) -> Vec<u16> {
        self.control.views().map(|view| view.serving_weight()).collect()
    }

    pub(super) fn reason(&self, number: u8) -> String {
        let view = self.control.views().find(|view| view.name == Self::name(number));
        view.expect("it is there").effective.reason
    }

    /// What was told of a kind: what it became.
    pub(super) fn told(&self, kind: EventKind) -> Vec<&str> {
        let of_kind = self.events.iter().filter(|event| event.kind == kind);
        of_kind.filter_map(|event| event.to.as_deref()).collect()
    }
}
