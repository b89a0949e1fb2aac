//! Which of a service's backends serve, where some only stand by for others.

use crate::{
    config::Config,
    control::{Command, Control, Memory, Mode, Moment, State},
    health::{CheckFailure, CheckResult},
    model::BackendName,
    netlink::Via,
    source::Snapshot,
};

const CONFIG: &str = r#"
[daemon]
interfaces = ["eth0"]
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
forward = "ipip"
scheduler = "primary-backup"
[service.health_check]
type = "tcp"
rise = 1
fall = 1
[service.source]
type = "file"
path = "/etc/lb/web.json"
[[service.backend]]
address = "10.0.1.11"
[[service.backend]]
address = "10.0.1.12"
[[service.backend]]
address = "10.0.1.13"
priority = 1
[[service.backend]]
address = "10.0.1.14"
priority = 7
"#;

fn control() -> Control {
    let config = Config::parse("test.toml", CONFIG).expect("a valid configuration");
    let mut control = Control::new(config, Memory::default()).expect("room");
    for address in control.addresses() {
        control.reached(address, Via::Direct);
    }
    for last in 11..=14 {
        judge(&mut control, last, Ok(std::time::Duration::ZERO));
    }
    control
}

fn name(last: u8) -> BackendName {
    format!("web/10.0.1.{last}").parse().expect("a name")
}

fn judge(control: &mut Control, last: u8, outcome: Result<std::time::Duration, CheckFailure>) {
    let target = control.targets().into_iter().find(|target| target.backend == name(last));
    let generation = target.expect("a target").generation;
    control.judge(
        &CheckResult { backend: name(last), generation, outcome, weight: None },
        Moment::default(),
    );
}

fn fail(control: &mut Control, last: u8) {
    judge(control, last, Err(CheckFailure::ConnectRefused));
}

fn states(control: &Control) -> Vec<State> {
    control.views().map(|view| view.effective.state).collect()
}

use State::{Down, Drain, Standby, Up};

#[test]
fn those_that_come_first_serve_and_the_others_say_why_they_do_not() {
    let control = control();
    assert_eq!(states(&control), [Up, Up, Standby, Standby]);
    let reasons: Vec<String> = control.views().map(|view| view.effective.reason).collect();
    assert_eq!(reasons[2..], ["standby: priority 0 serves", "standby: priority 0 serves"]);
    let weights: Vec<u16> = control.views().map(|view| view.serving_weight()).collect();
    assert_eq!(weights, [100, 100, 0, 0]);
}

#[test]
fn the_next_ones_serve_once_none_of_those_before_them_can() {
    let mut control = control();
    fail(&mut control, 11);
    assert_eq!(states(&control), [Down, Up, Standby, Standby]);
    control.operate(Command::SetMode(name(12), Mode::Drain)).expect("it is there");
    assert_eq!(states(&control), [Down, Drain, Up, Standby]);
    fail(&mut control, 13);
    assert_eq!(states(&control), [Down, Drain, Down, Up]);
    judge(&mut control, 11, Ok(std::time::Duration::ZERO));
    assert_eq!(states(&control), [Up, Drain, Down, Standby]);
}

#[test]
fn a_check_that_is_new_to_a_service_leaves_those_ready_that_stand_by() {
    let (before, rest) = CONFIG.split_once("[service.health_check]").expect("a check");
    let (_, after) = rest.split_once("[service.source]").expect("a source");
    let unchecked = format!("{before}[service.source]{after}");
    let mut control = control();
    control.reload(Config::parse("test.toml", &unchecked).expect("valid")).expect("room");
    assert_eq!(states(&control), [Up, Up, Standby, Standby]);
    control.reload(Config::parse("test.toml", CONFIG).expect("valid")).expect("room");
    assert_eq!(states(&control), [Up, Up, Standby, Standby]);
}

#[test]
fn registries_and_operators_name_priorities_too() {
    let mut control = control();
    let name = |last: u8| BackendName { address: [10, 0, 2, last].into(), ..name(last) };
    control.operate(Command::AddBackend(name(1), 100, 3)).expect("it is not there");
    let mut backend = control.services().values().next().expect("web").backends[0];
    (backend.address, backend.priority) = (name(2).address, 4);
    let service = name(1).service;
    control.register(&service, Snapshot { backends: vec![backend] }).expect("room");
    let priorities: Vec<_> =
        control.views().map(|view| view.priority).collect::<Vec<_>>()[4..].to_vec();
    assert_eq!(priorities, [3, 4]);
}
