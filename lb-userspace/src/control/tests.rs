mod flows;
mod priority;
mod quorum;
mod registries;
mod returns;
mod site;
mod succession;
mod uplink;

use std::time::Duration;

use super::*;
use lb_common::Address;

use crate::{
    datapath::desired::DesiredMember,
    health::{CheckFailure, CheckResult},
    model::Backend,
    selection,
};

const CONFIG: &str = r#"
[daemon]
interfaces = ["eth0"]
hash_seed = "a secret"
max_backends = 6
[[service]]
name = "web"
vip = "10.200.0.1"
port = 80
forward = "ipip"
[service.health_check]
type = "tcp"
interval = "1s"
rise = 2
fall = 3
[service.source]
type = "file"
path = "/etc/lb/web.json"
[[service.backend]]
address = "10.0.1.11"
[[service.backend]]
address = "10.0.1.12"
weight = 50
"#;

fn control() -> Control {
    let config = Config::parse("test.toml", CONFIG).expect("a valid configuration");
    let mut control = Control::new(config, Memory::default()).expect("room");
    for address in control.addresses() {
        control.reached(address, Via::Direct);
    }
    control
}

fn name(text: &str) -> BackendName {
    text.parse().expect("a backend's name")
}

fn state(control: &Control, backend: &str) -> Option<State> {
    control.views().find(|view| view.name == name(backend)).map(|view| view.effective.state)
}

fn check(control: &mut Control, backend: &str, outcome: Result<Duration, CheckFailure>) -> bool {
    let target = control.targets().into_iter().find(|target| target.backend == name(backend));
    let generation = target.expect("a target").generation;
    control.judge(
        &CheckResult { backend: name(backend), generation, outcome, weight: None },
        Moment::default(),
    )
}

#[test]
fn the_first_check_decides_and_then_rise_and_fall() {
    let mut control = control();
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Starting));
    assert!(check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO)));
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
    for failures in 1..=3 {
        let changed = check(&mut control, "web/10.0.1.11", Err(CheckFailure::ConnectRefused));
        assert_eq!(changed, failures == 3);
    }
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Down));
}

#[test]
fn a_result_of_a_former_life_counts_for_nothing() {
    let mut control = control();
    let old = control.targets()[0].generation;
    control.operate(Command::RemoveBackend(name("web/10.0.1.11"))).expect("it is there");
    control.operate(Command::AddBackend(name("web/10.0.1.11"), 100, 0)).expect("it is not there");
    let result = CheckResult {
        backend: name("web/10.0.1.11"),
        generation: old,
        outcome: Ok(Duration::ZERO),
        weight: None,
    };
    assert!(!control.judge(&result, Moment::default()));
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Starting));
}

#[test]
fn inputs_do_not_overwrite_each_other() {
    let mut control = control();
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    control.operate(Command::SetMode(name("web/10.0.1.11"), Mode::Drain)).expect("it is there");
    control.operate(Command::SetWeight(name("web/10.0.1.11"), Some(7))).expect("it is there");
    let config = control.config().clone();
    control.reload(config).expect("the same");
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Drain));
    control.operate(Command::SetMode(name("web/10.0.1.11"), Mode::Ready)).expect("it is there");
    let view = control.views().next().expect("a backend");
    assert_eq!((view.effective.state, view.effective.weight), (State::Up, 7));
    assert_eq!(view.configured_weight, 100);
    control.operate(Command::SetWeight(name("web/10.0.1.11"), None)).expect("it is there");
    assert_eq!(control.intents(), &Intents::default());
}

#[test]
fn backends_of_another_ip_version_are_not_translated() {
    let mut control = control();
    let other = || Command::AddBackend(name("web/fd00:1::14"), 100, 0);
    control.operate(other()).expect("a tunnel may be of another IP version");
    assert!(state(&control, "web/fd00:1::14").is_some());
    let text = CONFIG.replace("ipip", "nat");
    control.reload(Config::parse("test.toml", &text).expect("valid")).expect("room");
    assert_eq!(state(&control, "web/fd00:1::14"), None);
    assert!(state(&control, "web/10.0.1.11").is_some());

    let config = Config::parse("test.toml", &text).expect("valid");
    let mut control = Control::new(config, Memory::default()).expect("room");
    let error = control.operate(other()).expect_err("another IP version").to_string();
    let expected = "`web/fd00:1::14` cannot be a backend: forward = \"nat\" needs backends of the \
                    same family as the service";
    assert_eq!(error, expected);
}

#[test]
fn a_configuration_in_force_comes_to_the_same_whether_its_backends_are_checked_or_not() {
    let mut control = control();
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    control.note(1);
    let config = control.config().clone();
    let weights = |control: &Control| {
        let members = control.desired(1).remove(0).members;
        members.iter().map(|member| member.weight).collect::<Vec<_>>()
    };
    let preview = control.preview(config.clone(), 1).expect("in force");
    assert_eq!(weights(&preview), [100, 50]);
    let again = preview.preview(config, 1).expect("in force");
    assert_eq!(again.desired(1), preview.desired(1));
}

#[test]
fn what_is_not_there_is_named() {
    let mut control = control();
    let mut refused = |command| control.operate(command).expect_err("refused");
    assert!(matches!(
        refused(Command::SetMode(name("web/10.0.1.99"), Mode::Drain)),
        ControlError::NoBackend(_)
    ));
    assert!(matches!(
        refused(Command::SetMode(name("db/10.0.1.11"), Mode::Drain)),
        ControlError::NoService(_)
    ));
    assert!(matches!(
        refused(Command::AddBackend(name("web/10.0.1.11"), 1, 0)),
        ControlError::BackendExists(_)
    ));
    assert!(matches!(
        refused(Command::AddBackend(name("web/10.200.0.1"), 1, 0)),
        ControlError::BadBackend(..)
    ));
    let same_key = "name = \"other\"\nvip = \"10.200.0.1\"\nport = 80\nforward = \"l2\"";
    assert_eq!(
        refused(Command::AddService(same_key.to_owned())).to_string(),
        "service `other`: `web` has this address, port and protocol already"
    );
    let mapped = same_key.replace("10.200", "::ffff:10.200");
    assert!(matches!(refused(Command::AddService(mapped)), ControlError::KeyTaken { .. }));
}

#[test]
fn an_added_service_keeps_its_key_from_a_configuration() {
    let mut control = control();
    let added = "name = \"zebra\"\nvip = \"10.200.0.2\"\nport = 80\nforward = \"l2\"";
    control.operate(Command::AddService(added.to_owned())).expect("new");
    let text = format!("{CONFIG}[[service]]\n{}", added.replace("zebra", "ant"));
    let config = Config::parse("test.toml", &text).expect("a valid configuration");
    let refusal = control.check_reload(&config).expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "service `ant`: `zebra` has this address, port and protocol already"
    );
    assert_eq!(control.reload(config), Err(refusal));
}

#[test]
fn a_plan_changes_nothing_until_it_is_adopted() {
    let mut control = control();
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    let generation = control.targets()[0].generation;
    let intents = control.plan(Command::RemoveBackend(name("web/10.0.1.11"))).expect("it is there");
    assert_eq!(control.intents(), &Intents::default());
    assert_eq!(control.targets()[0].generation, generation);
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
    control.adopt(intents).expect("planned");
    assert_eq!(state(&control, "web/10.0.1.11"), None);
}

#[test]
fn a_plan_without_room_is_refused() {
    let mut control = control();
    let backends = (0..4).map(|last| Backend {
        address: [10, 0, 2, last].into(),
        weight: 1,
        port: 0,
        priority: 0,
    });
    let snapshot = Snapshot { backends: backends.collect() };
    control.register(&"web".parse().expect("name"), snapshot).expect("two and four are six");
    let add = Command::AddBackend(name("web/10.0.3.1"), 1, 0);
    let planned = control.plan(add.clone()).expect_err("seven");
    assert_eq!(planned, control.operate(add).expect_err("seven"));
}

#[test]
fn services_come_and_go_and_are_remembered() {
    let mut control = control();
    let text =
        "name = \"dns\"\nvip = \"10.200.0.2\"\nport = 53\nprotocol = \"udp\"\nforward = \"l2\"";
    control.operate(Command::AddService(text.to_owned())).expect("new");
    control.operate(Command::AddBackend(name("dns/10.0.1.11"), 10, 0)).expect("new");
    control.operate(Command::RemoveService("web".parse().expect("name"))).expect("there");
    let memory = Memory { intents: control.intents().clone(), ..Memory::default() };
    let mut again = Control::new(control.config().clone(), memory).expect("room");
    again.reached("10.0.1.11".parse().expect("address"), Via::Direct);
    let names: Vec<String> = again.services().keys().map(ToString::to_string).collect();
    assert_eq!(names, ["dns"]);
    assert_eq!(state(&again, "dns/10.0.1.11"), Some(State::Up));
}

#[test]
fn a_change_of_what_is_fixed_is_refused() {
    for (key, value, refused) in [
        ("interfaces", "[\"eth0\", \"eth1\"]", "interfaces"),
        ("xdp_mode", "\"generic\"", "xdp_mode"),
        ("api_socket", "\"/run/other.sock\"", "api_socket"),
        ("metrics_listen", "\"127.0.0.1:1\"", "metrics_listen"),
        ("state_dir", "\"/var/lib/other\"", "state_dir"),
        ("pin_dir", "\"/sys/fs/bpf/other\"", "pin_dir"),
        ("hash_seed", "\"another secret\"", "hash_seed"),
        ("gue_port", "6081", "gue_port"),
        ("tunnel_sources", "[\"10.1.255.0/24\"]", "tunnel_sources"),
        ("nat_ports", "\"5000-5999\"", "nat_ports"),
        ("max_services", "7", "max_*"),
        ("max_backends", "7", "max_*"),
        ("max_slots", "8192", "max_*"),
        ("max_flows", "2048", "max_*"),
        ("max_nat_flows", "2048", "max_*"),
        ("max_sources", "2048", "max_*"),
    ] {
        let others = CONFIG.lines().filter(|line| !line.starts_with(&format!("{key} =")));
        let text: String = others.map(|line| format!("{line}\n")).collect();
        let text = text.replace("[daemon]\n", &format!("[daemon]\n{key} = {value}\n"));
        let config = Config::parse("test.toml", &text).expect("a valid configuration");
        let mut control = control();
        assert_eq!(
            control.check_reload(&config),
            Err(ControlError::NeedsRestart(refused)),
            "{key}"
        );
        assert_eq!(control.reload(config), Err(ControlError::NeedsRestart(refused)), "{key}");
    }
}

#[test]
fn transitions_are_told_once() {
    let mut control = control();
    assert_eq!(control.changes(1).len(), 2);
    assert_eq!(control.changes(2), []);
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    let told = control.changes(3);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].from.clone(), told[0].to.clone()),
        (Some("starting".to_owned()), Some("up".to_owned()))
    );
    control.operate(Command::RemoveBackend(name("web/10.0.1.12"))).expect("there");
    assert_eq!(control.changes(4)[0].to, None);
}

/// The configuration after a change of its text.
fn changed(from: &str, to: &str) -> Config {
    assert!(CONFIG.contains(from), "{from}");
    Config::parse("test.toml", &CONFIG.replace(from, to)).expect("a valid configuration")
}

/// The owners of the service's slots by address; none if nobody takes new flows.
fn owners(control: &Control) -> Option<Vec<Address>> {
    let members = control.desired(0).remove(0).members;
    let member = |member: &DesiredMember| selection::Member {
        address: member.address,
        base_weight: member.base_weight,
        weight: member.weight,
    };
    let table = selection::table(&members.iter().map(member).collect::<Vec<_>>(), 7)?;
    Some(table.into_iter().map(|owner| members[usize::from(owner)].address).collect())
}

const CHECK: &str =
    "[service.health_check]\ntype = \"tcp\"\ninterval = \"1s\"\nrise = 2\nfall = 3\n";

#[test]
fn after_maintenance_checks_judge_anew() {
    let mut control = control();
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    check(&mut control, "web/10.0.1.12", Ok(Duration::ZERO));
    let before = owners(&control);
    let backend = name("web/10.0.1.11");
    let generation = control.targets()[0].generation;
    control.changes(1);
    control.operate(Command::SetMode(backend.clone(), Mode::Maint)).expect("it is there");
    control.changes(2);
    let out = owners(&control);
    assert!(!control.targets().iter().any(|target| target.backend == backend));
    control.operate(Command::SetMode(backend.clone(), Mode::Ready)).expect("it is there");
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Starting));
    assert!(owners(&control) == out, "it is as before for the others");
    // What was found before the maintenance says nothing of the time after it.
    let late = CheckResult { backend, generation, outcome: Ok(Duration::ZERO), weight: None };
    assert!(!control.judge(&late, Moment::default()));
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    assert!(owners(&control) == before);
}

#[test]
fn addresses_that_are_gone_are_not_known_any_more() {
    let mut control = control();
    control.reload(changed("port = 80", "port = 80\non_remove = \"reselect\"")).expect("valid");
    control.note(1);
    control.operate(Command::RemoveBackend(name("web/10.0.1.11"))).expect("it is there");
    control.note(2);
    control.operate(Command::AddBackend(name("web/10.0.1.11"), 100, 0)).expect("it is not there");
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Starting));
    assert!(control.reached([10, 0, 1, 11].into(), Via::Direct));
    control.note(5000);
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
}

/// The same address may serve by a tunnel, for which the gateway is no obstacle.
#[test]
fn a_gateway_bars_direct_routing_only() {
    let gateway = Via::Gateway([10, 0, 0, 254].into());
    let direct = CONFIG.replace("forward = \"ipip\"", "forward = \"l2\"");
    assert_ne!(direct, CONFIG);
    for (text, expected) in [(&*direct, State::Drain), (CONFIG, State::Up)] {
        let config = Config::parse("test.toml", text).expect("a valid configuration");
        let mut control = Control::new(config, Memory::default()).expect("room");
        let address = [10, 0, 1, 11].into();
        assert!(control.reached(address, Via::Direct));
        check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
        assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
        assert!(control.reached(address, gateway), "it is another way");
        assert!(!control.reached(address, gateway), "it is the same way");
        assert_eq!(state(&control, "web/10.0.1.11"), Some(expected));
        assert!(control.reached(address, Via::Direct));
        assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
    }
}

#[test]
fn a_service_that_gets_a_registry_keeps_its_backends_until_the_first_answer() {
    let without =
        CONFIG.replace("[service.source]\ntype = \"file\"\npath = \"/etc/lb/web.json\"\n", "");
    let config = Config::parse("test.toml", &without).expect("a valid configuration");
    let mut control = Control::new(config, Memory::default()).expect("room");
    let only_registry = CONFIG.split("[[service.backend]]").next().expect("the first part");
    let config = Config::parse("test.toml", only_registry).expect("a valid configuration");
    control.reload(config).expect("room");
    assert_eq!(control.views().count(), 2);
    let web: ServiceName = "web".parse().expect("name");
    control.register(&web, Snapshot::default()).expect("room");
    assert_eq!(control.views().count(), 0);
}

#[test]
fn what_operators_said_of_a_service_can_be_taken_back() {
    let mut control = control();
    let web: ServiceName = "web".parse().expect("name");
    let reset = || Command::ResetService("web".parse().expect("name"));
    assert_eq!(control.operate(reset()), Err(ControlError::NothingSaid(web.clone())));
    control.operate(Command::SetMode(name("web/10.0.1.11"), Mode::Drain)).expect("there");
    control.operate(Command::RemoveService(web.clone())).expect("there");
    assert_eq!(control.intents().services(), [web]);
    assert_eq!(control.views().count(), 0);
    control.operate(reset()).expect("something was said");
    assert_eq!(control.intents(), &Intents::default());
    assert_eq!(control.views().count(), 2);
}
