//! What is known goes on under another configuration, and with backends that are new.

use super::*;

#[test]
fn a_check_that_is_new_to_a_service_does_not_empty_it() {
    let mut control = control();
    control.reload(changed(CHECK, "")).expect("valid");
    let drained = name("web/10.0.1.12");
    control.operate(Command::SetMode(drained, Mode::Drain)).expect("it is there");
    let before = owners(&control);
    assert!(before.is_some());
    control.reload(changed(CHECK, CHECK)).expect("valid");
    assert!(owners(&control) == before);
    assert_eq!(state(&control, "web/10.0.1.11"), Some(State::Up));
    // Presumed, not known: it takes as many failures as for any that is up.
    for failures in 1..=3 {
        let changed = check(&mut control, "web/10.0.1.11", Err(CheckFailure::ConnectRefused));
        assert_eq!(changed, failures == 3);
    }
    // Nobody has seen the one that took no new flows.
    assert!(check(&mut control, "web/10.0.1.12", Err(CheckFailure::ConnectRefused)));
}

#[test]
fn another_name_leaves_judgements_and_registered_backends_as_they_are() {
    let mut control = control();
    let thirteenth = Backend { address: [10, 0, 1, 13].into(), weight: 30, port: 0, priority: 0 };
    let snapshot = Snapshot { backends: vec![thirteenth] };
    control.register(&"web".parse().expect("name"), snapshot).expect("room");
    control.reached(thirteenth.address, Via::Direct);
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    check(&mut control, "web/10.0.1.12", Err(CheckFailure::ConnectRefused));
    check(&mut control, "web/10.0.1.13", Ok(Duration::ZERO));
    let before = owners(&control);
    control.reload(changed("name = \"web\"", "name = \"www\"")).expect("valid");
    assert!(owners(&control) == before);
    let states: Vec<_> = control.views().map(|view| view.effective.state).collect();
    assert_eq!(states, [State::Up, State::Down, State::Up]);
    // Another key is another service.
    control.reload(changed("port = 80", "port = 81")).expect("valid");
    assert!(owners(&control).is_none());
}

#[test]
fn a_refused_configuration_leaves_registered_backends_where_they_are() {
    let mut control = control();
    let backends: Vec<Backend> = (0..4)
        .map(|last| Backend { address: [10, 0, 2, last].into(), weight: 1, port: 0, priority: 0 })
        .collect();
    control.register(&"web".parse().expect("name"), Snapshot { backends }).expect("room");
    let one = "[[service.backend]]\naddress = \"10.0.1.11\"";
    let two = format!("{one}\n[[service.backend]]\naddress = \"10.0.1.9\"");
    let text = CONFIG.replace("name = \"web\"", "name = \"www\"").replace(one, &two);
    let config = Config::parse("test.toml", &text).expect("valid");
    assert!(matches!(control.reload(config), Err(ControlError::Capacity(_))));
    assert_eq!(control.views().count(), 6);
}

#[test]
fn a_new_backend_joins_the_table_when_it_is_first_judged() {
    let mut control = control();
    check(&mut control, "web/10.0.1.11", Ok(Duration::ZERO));
    check(&mut control, "web/10.0.1.12", Ok(Duration::ZERO));
    control.changes(1);
    let before = owners(&control);
    control.operate(Command::AddBackend(name("web/10.0.1.13"), 100, 0)).expect("new");
    control.reached([10, 0, 1, 13].into(), Via::Direct);
    control.changes(2);
    assert!(owners(&control) == before, "it is as if it were not there yet");
    check(&mut control, "web/10.0.1.13", Err(CheckFailure::ConnectRefused));
    control.changes(3);
    let down = owners(&control);
    // Whoever has seen it up before has the same table: what was is not asked.
    for _ in 0..2 {
        check(&mut control, "web/10.0.1.13", Ok(Duration::ZERO));
    }
    control.changes(4);
    assert!(owners(&control) != down);
    for _ in 0..3 {
        check(&mut control, "web/10.0.1.13", Err(CheckFailure::ConnectRefused));
    }
    control.changes(5);
    assert!(owners(&control) == down);
}
