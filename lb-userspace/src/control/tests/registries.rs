//! What registries say, beside the configuration.

use super::*;

#[test]
fn the_registry_adds_and_the_configuration_wins() {
    let mut control = control();
    let backend = |text: &str, weight| Backend {
        address: text.parse().expect("address"),
        weight,
        port: 0,
        priority: 0,
    };
    let snapshot = Snapshot { backends: vec![backend("10.0.1.12", 9), backend("10.0.1.13", 30)] };
    control.register(&"web".parse().expect("name"), snapshot).expect("room");
    let weights: Vec<_> =
        control.views().map(|view| (view.configured_weight, view.origin)).collect();
    assert_eq!(weights, [(100, Origin::Config), (50, Origin::Config), (30, Origin::Registry)]);
}

#[test]
fn an_answer_without_room_leaves_the_last_one() {
    let mut control = control();
    let backends = |count: u8| Snapshot {
        backends: (0..count)
            .map(|last| Backend {
                address: [10, 0, 2, last].into(),
                weight: 1,
                port: 0,
                priority: 0,
            })
            .collect(),
    };
    let web: ServiceName = "web".parse().expect("name");
    control.register(&web, backends(4)).expect("two and four are six");
    let error = control.register(&web, backends(5)).expect_err("two and five are seven");
    assert_eq!(error.to_string(), "7 backends, but daemon.max_backends is 6: raise it");
    assert_eq!(control.views().count(), 6);
}

#[test]
fn of_what_a_registry_said_before_the_daemon_began_as_much_is_kept_as_fits() {
    let backend =
        |last| Backend { address: [10, 0, 2, last].into(), weight: 1, port: 0, priority: 0 };
    for (known, kept) in [(4, 6), (5, 6), (200, 6)] {
        let web: ServiceName = "web".parse().expect("name");
        let snapshot = Snapshot { backends: (0..known).map(backend).collect() };
        let memory = Memory { registered: [(web, snapshot)].into(), ..Memory::default() };
        let config = Config::parse("test.toml", CONFIG).expect("a valid configuration");
        let control = Control::new(config, memory).expect("it must start");
        assert_eq!(control.views().count(), kept, "{known}");
    }
}

#[test]
fn what_tables_say_that_a_registry_said_has_its_part_in_them_before_it_is_checked() {
    let thirteenth = Backend { address: [10, 0, 1, 13].into(), weight: 30, port: 0, priority: 0 };
    let web: ServiceName = "web".parse().expect("name");
    let base = |register: fn(&mut Control, &ServiceName, Snapshot) -> Result<(), ControlError>| {
        let mut control = control();
        register(&mut control, &web, Snapshot { backends: vec![thirteenth] }).expect("room");
        let members = control.desired(0).remove(0).members;
        members.iter().map(|member| member.base_weight).collect::<Vec<_>>()
    };
    assert_eq!(base(Control::presume_registered), [100, 50, 30]);
    assert_eq!(base(Control::register), [100, 50, 0]);
}
