//! What becomes of flows: by state, by rule, and by the clock.

use proptest::prelude::*;

use super::*;
use crate::datapath::desired::Flows;

/// Milliseconds that flows are kept while down and once removed, and that clients are told.
const DOWN: u64 = 10_000;
const REMOVE: u64 = 30_000;
const TOLD: u64 = 60_000;

const ONE: &str = "web/10.0.1.11";
const OTHER: &str = "web/10.0.1.12";

fn with_rules(lines: &str) -> Control {
    let port = "port = 80\n";
    let rules = format!("{port}flow_grace = \"60s\"\n{lines}");
    let config = Config::parse("test.toml", &CONFIG.replace(port, &rules)).expect(lines);
    let mut control = Control::new(config, Memory::default()).expect("room");
    for address in control.addresses() {
        control.reached(address, Via::Direct);
    }
    for backend in [ONE, OTHER] {
        check(&mut control, backend, Ok(Duration::ZERO));
    }
    control.note(0);
    control
}

/// What becomes of the flows of each backend, by the last byte of its address.
fn flows_at(control: &mut Control, now: u64) -> BTreeMap<u8, Flows> {
    control.note(now);
    let members = control.desired(now).remove(0).members;
    let last = |member: &DesiredMember| match IpAddr::from(member.address) {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    members.iter().map(|member| (last(member), member.flows)).collect()
}

fn fail(control: &mut Control, backend: &str) {
    for _ in 0..3 {
        check(control, backend, Err(CheckFailure::ConnectRefused));
    }
}

fn recover(control: &mut Control, backend: &str) {
    for _ in 0..2 {
        check(control, backend, Ok(Duration::ZERO));
    }
}

fn set(control: &mut Control, mode: Mode) {
    control.operate(Command::SetMode(name(ONE), mode)).expect("it is there");
}

fn remove(control: &mut Control) {
    control.operate(Command::RemoveBackend(name(ONE))).expect("it is there");
}

fn add(control: &mut Control) {
    control.operate(Command::AddBackend(name(ONE), 100, 0)).expect("it is not there");
}

#[test]
fn flows_of_a_backend_that_fails_are_kept_then_reset_then_forgotten() {
    let mut control = with_rules("");
    assert_eq!(flows_at(&mut control, 5), [(11, Flows::Stay), (12, Flows::Stay)].into());
    assert_eq!(control.next_deadline(5), None);
    fail(&mut control, ONE);
    let mut at = 1000;
    for (flows, lasts) in [(Flows::Keep, DOWN), (Flows::Reset, TOLD)] {
        let end = at + lasts;
        for now in [at, end - 1] {
            assert_eq!(flows_at(&mut control, now)[&11], flows, "{now}");
            assert_eq!(control.next_deadline(now), Some(end), "{now}");
        }
        at = end;
    }
    for now in [at, at + 1_000_000] {
        assert_eq!(flows_at(&mut control, now), [(11, Flows::Leave), (12, Flows::Stay)].into());
        assert_eq!(control.next_deadline(now), None);
    }
}

#[test]
fn clients_are_told_for_a_while_whatever_the_grace() {
    for (grace, told) in [("2h", 60_000), ("30s", 30_000), ("0s", 10_000)] {
        let mut control = with_rules("on_down = \"reset\"\n");
        let text = CONFIG.replace(
            "port = 80\n",
            &format!("port = 80\nflow_grace = \"{grace}\"\non_down = \"reset\"\n"),
        );
        control.reload(Config::parse("test.toml", &text).expect("valid")).expect("room");
        fail(&mut control, ONE);
        assert_eq!(flows_at(&mut control, 1)[&11], Flows::Reset, "{grace}");
        assert_eq!(control.next_deadline(1), Some(1 + told), "{grace}");
        assert_eq!(flows_at(&mut control, told)[&11], Flows::Reset, "{grace}");
        assert_eq!(flows_at(&mut control, 1 + told)[&11], Flows::Leave, "{grace}");
    }
}

#[test]
fn a_flap_begins_the_time_anew() {
    let mut control = with_rules("");
    for round in 0..20 {
        let now = round * (DOWN - 1);
        fail(&mut control, ONE);
        assert_eq!(flows_at(&mut control, now)[&11], Flows::Keep, "round {round}");
        assert_eq!(flows_at(&mut control, now + DOWN - 2)[&11], Flows::Keep, "round {round}");
        recover(&mut control, ONE);
        assert_eq!(flows_at(&mut control, now + DOWN - 2)[&11], Flows::Stay, "round {round}");
    }
}

#[test]
fn a_drain_lasts_as_long_as_nobody_limits_it() {
    let mut control = with_rules("");
    set(&mut control, Mode::Drain);
    assert_eq!(flows_at(&mut control, 1)[&11], Flows::Keep);
    assert_eq!(flows_at(&mut control, u64::MAX / 2)[&11], Flows::Keep);

    let mut control = with_rules("drain_timeout = \"1h\"\n");
    set(&mut control, Mode::Drain);
    assert_eq!(flows_at(&mut control, 1)[&11], Flows::Keep);
    assert_eq!(flows_at(&mut control, 3_600_001)[&11], Flows::Reset);
    assert_eq!(flows_at(&mut control, 3_600_001 + TOLD)[&11], Flows::Leave);
    set(&mut control, Mode::Ready);
    assert_eq!(flows_at(&mut control, 3_600_002 + TOLD)[&11], Flows::Stay);
}

#[test]
fn weight_zero_drains_and_maintenance_is_down() {
    let mut control = with_rules("on_drain = \"reset\"\non_down = \"reselect\"\n");
    control.operate(Command::SetWeight(name(ONE), Some(0))).expect("it is there");
    assert_eq!(flows_at(&mut control, 1)[&11], Flows::Reset);
    assert_eq!(flows_at(&mut control, 1 + TOLD)[&11], Flows::Leave);
    set(&mut control, Mode::Maint);
    assert_eq!(flows_at(&mut control, 2 + TOLD)[&11], Flows::Leave);
}

#[test]
fn a_short_maintenance_breaks_nothing() {
    let mut control = with_rules("");
    set(&mut control, Mode::Maint);
    assert_eq!(flows_at(&mut control, 1)[&11], Flows::Keep);
    // Nobody has checked it meanwhile: it is not up yet, but has its flows.
    set(&mut control, Mode::Ready);
    assert_eq!(state(&control, ONE), Some(State::Starting));
    assert_eq!(flows_at(&mut control, 2)[&11], Flows::Keep);
    check(&mut control, ONE, Ok(Duration::ZERO));
    assert_eq!(flows_at(&mut control, 3)[&11], Flows::Stay);
}

#[test]
fn a_backend_that_was_removed_keeps_its_flows_for_a_while() {
    let mut control = with_rules("");
    remove(&mut control);
    assert_eq!(flows_at(&mut control, 100), [(11, Flows::Keep), (12, Flows::Stay)].into());
    let departed = control.desired(100).remove(0).members.pop().expect("the last");
    assert_eq!((departed.base_weight, departed.weight), (0, 0), "it has no part in the table");
    assert_eq!(control.views().count(), 1);
    assert!(control.addresses().contains(&IpAddr::from([10, 0, 1, 11])), "its way is followed");
    let service = control.services().values().next().expect("one");
    let fates: Vec<_> = control.departed(service, 100).collect();
    let kept = Fate { flows: Flows::Keep, until: Some(100 + REMOVE) };
    assert_eq!(fates, [([10, 0, 1, 11].into(), kept)]);

    assert_eq!(flows_at(&mut control, 100 + REMOVE)[&11], Flows::Reset);
    assert!(!control.addresses().contains(&IpAddr::from([10, 0, 1, 11])), "nothing is sent to it");
    assert_eq!(flows_at(&mut control, 100 + REMOVE + TOLD), [(12, Flows::Stay)].into());
    assert!(!control.addresses().contains(&IpAddr::from([10, 0, 1, 11])));
    assert_eq!(control.next_deadline(100 + REMOVE + TOLD), None);
}

#[test]
fn one_that_is_added_again_in_time_has_never_been_away() {
    for (back_at, flows) in [(REMOVE - 1, Flows::Keep), (REMOVE, Flows::Reset)] {
        let mut control = with_rules("on_down = \"reselect\"\n");
        remove(&mut control);
        flows_at(&mut control, 0);
        add(&mut control);
        // Its first check has not ended, and no time of its own has begun.
        assert_eq!(flows_at(&mut control, back_at)[&11], flows);
        check(&mut control, ONE, Ok(Duration::ZERO));
        assert_eq!(flows_at(&mut control, back_at + 1)[&11], Flows::Stay);
        let service = control.services().values().next().expect("one");
        assert_eq!(control.departed(service, back_at + 1).count(), 0);
    }
}

#[test]
fn flows_that_were_over_do_not_come_back_by_a_removal() {
    let mut control = with_rules("");
    fail(&mut control, ONE);
    flows_at(&mut control, 0);
    assert_eq!(flows_at(&mut control, DOWN)[&11], Flows::Reset);
    remove(&mut control);
    assert_eq!(flows_at(&mut control, DOWN + 1)[&11], Flows::Reset);
    assert_eq!(flows_at(&mut control, DOWN + TOLD).get(&11), None);
}

#[test]
fn nothing_is_left_of_a_backend_whose_flows_go_elsewhere() {
    let mut control = with_rules("on_remove = \"reselect\"\n");
    remove(&mut control);
    assert_eq!(flows_at(&mut control, 1), [(12, Flows::Stay)].into());
}

#[test]
fn departed_backends_take_no_room_from_those_that_are_there() {
    let mut control = with_rules("");
    let web: ServiceName = "web".parse().expect("name");
    let answer = |numbers: std::ops::Range<u8>| Snapshot {
        backends: numbers
            .map(|last| Backend {
                address: [10, 0, 1, last].into(),
                weight: 1,
                port: 0,
                priority: 0,
            })
            .collect(),
    };
    let last = |flows: BTreeMap<u8, Flows>| flows.into_keys().collect::<Vec<_>>();
    control.register(&web, answer(21..25)).expect("two and four are six");
    control.note(1);
    control.register(&web, answer(22..25)).expect("room");
    assert_eq!(last(flows_at(&mut control, 2)), [11, 12, 21, 22, 23, 24]);
    control.register(&web, answer(23..25)).expect("room");
    assert_eq!(last(flows_at(&mut control, 3)), [11, 12, 21, 22, 23, 24]);
    // The room is needed: who left first goes first.
    control.register(&web, answer(23..26)).expect("two and three are five");
    assert_eq!(last(flows_at(&mut control, 4)), [11, 12, 22, 23, 24, 25]);
    control.register(&web, answer(23..27)).expect("two and four are six");
    assert_eq!(last(flows_at(&mut control, 5)), [11, 12, 23, 24, 25, 26]);
    control.register(&web, answer(24..27)).expect("room");
    control.note(6);
    assert!(control.forget_departed());
    assert!(!control.forget_departed());
    assert_eq!(last(flows_at(&mut control, 7)), [11, 12, 24, 25, 26]);
}

#[test]
fn for_want_of_room_those_that_left_first_go_first() {
    let mut control = with_rules("");
    for (now, last) in [(1, 12), (2, 11)] {
        let backend = name(&format!("web/10.0.1.{last}"));
        control.operate(Command::RemoveBackend(backend)).expect("it is there");
        control.note(now);
    }
    control.operate(Command::AddBackend(name("web/10.0.1.13"), 100, 0)).expect("new");
    control.operate(Command::RemoveBackend(name("web/10.0.1.13"))).expect("it is there");
    control.note(3);
    let left = |control: &mut Control| flows_at(control, 4).into_keys().collect::<Vec<_>>();
    for expected in [&[11][..], &[]] {
        assert!(control.forget_departed());
        assert_eq!(left(&mut control), expected);
    }
    assert!(!control.forget_departed());
}

#[test]
fn another_name_keeps_times_and_departed_backends_and_another_key_does_not() {
    for (from, to, flows) in
        [("name = \"web\"", "name = \"www\"", Some(Flows::Keep)), ("port = 80", "port = 81", None)]
    {
        let mut control = with_rules("");
        remove(&mut control);
        control.note(0);
        let mut config = changed(from, to);
        config.services[0].backends.remove(0);
        config.services[0].flow_grace = Duration::from_secs(60);
        control.reload(config).expect("room");
        assert_eq!(flows_at(&mut control, REMOVE - 1).get(&11).copied(), flows, "{to}");
        let later = flows.map(|_| Flows::Reset);
        assert_eq!(flows_at(&mut control, REMOVE).get(&11).copied(), later, "{to}");
    }
}

#[test]
fn what_only_an_earlier_daemon_knew_has_left_when_this_one_began() {
    let mut control = with_rules("");
    for last in [11, 99] {
        let name = name(&format!("web/10.0.1.{last}"));
        control.presume_departed(name, 0, 7);
    }
    let flows = flows_at(&mut control, 8);
    assert_eq!((flows[&11], flows[&99]), (Flows::Stay, Flows::Keep));
    assert_eq!(flows_at(&mut control, 7 + REMOVE)[&99], Flows::Reset);
    control.presume_departed(name("gone/10.0.1.11"), 0, 9);
    control.operate(Command::RemoveService("web".parse().expect("name"))).expect("there");
    control.note(10);
    assert_eq!((control.addresses(), control.next_deadline(10)), (BTreeSet::new(), None));
}

#[test]
fn connections_of_quic_find_a_removed_backend_until_another_has_its_identifier() {
    let quic = "protocol = \"udp\"\nudp_flows = \"quic\"\n\
                quic_server_id = { offset = 1, length = 1 }\non_remove = \"keep\"\n";
    let backend = |last: u8, id: &str| {
        format!("[[service.backend]]\naddress = \"10.0.1.{last}\"\nserver_id = \"{id}\"\n")
    };
    let text = CONFIG.replace("port = 80\n", &format!("port = 80\n{quic}"));
    let text = text.split("[[service.backend]]").next().expect("the first part").to_owned();
    let config = |backends: &[String]| {
        Config::parse("test.toml", &format!("{text}{}", backends.concat())).expect("valid")
    };
    let both = config(&[backend(11, "0a"), backend(12, "0b")]);
    let mut control = Control::new(both, Memory::default()).expect("room");
    for (last, name) in [(11, ONE), (12, "web/10.0.1.12")] {
        control.reached([10, 0, 1, last].into(), Via::Direct);
        check(&mut control, name, Ok(Duration::ZERO));
    }
    control.note(0);
    let known = |control: &mut Control| {
        control.note(1);
        let crate::datapath::policies::DesiredUdp::Quic { servers, .. } =
            control.desired(1).remove(0).policy.udp
        else {
            panic!("it reads identifiers")
        };
        servers.into_values().collect::<Vec<_>>()
    };
    control.reload(config(&[backend(12, "0b")])).expect("room");
    assert_eq!(known(&mut control), [0x0a, 0x0b]);
    control.reload(config(&[backend(12, "0b"), backend(13, "0a")])).expect("room");
    assert_eq!(known(&mut control), [0x0b, 0x0a], "it is the new one's");
}

/// Something that happens to one of a few backends.
fn events() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    prop::collection::vec((0..8_u8, 13..20_u8, 0..40_000_u64), 1..60)
}

fn happen(control: &mut Control, event: u8, last: u8) {
    let backend = name(&format!("web/10.0.1.{last}"));
    let is_there = state(control, &backend.to_string()).is_some();
    // What cannot be done is refused, and changes nothing.
    let mut operate = |command| drop(control.operate(command));
    match event {
        0 | 1 => {
            operate(Command::AddBackend(backend.clone(), 100, 0));
            control.reached(backend.address, Via::Direct);
        }
        2 => operate(Command::RemoveBackend(backend)),
        3 => operate(Command::SetMode(backend, Mode::Drain)),
        4 => operate(Command::SetMode(backend, Mode::Maint)),
        5 => operate(Command::SetMode(backend, Mode::Ready)),
        _ if !is_there || control.intents().of(&backend).mode == Mode::Maint => {}
        6 => fail(control, &backend.to_string()),
        _ => recover(control, &backend.to_string()),
    }
}

proptest! {
    #[test]
    fn whatever_happens_flows_are_as_the_rules_say(events in events()) {
        let mut control = with_rules("");
        let mut now = 0;
        for (event, last, passed) in events {
            happen(&mut control, event, last);
            control.note(now);
            let desired = control.desired(now);
            let members = &desired[0].members;
            let addresses: BTreeSet<Address> = members.iter().map(|member| member.address).collect();
            prop_assert_eq!(addresses.len(), members.len(), "each once");
            prop_assert!(members.len() <= 6, "they fit");
            for view in control.views() {
                let fate = control.fate(&view, now);
                prop_assert_eq!(fate.flows == Flows::Stay, view.effective.state == State::Up);
                prop_assert!(fate.until.is_none_or(|until| until > now));
            }
            let deadline = control.next_deadline(now);
            prop_assert!(deadline.is_none_or(|deadline| deadline > now));
            // Nothing changes before that by itself, and something does then.
            let before = deadline.map_or(now + passed, |deadline| deadline - 1);
            control.note(before);
            prop_assert_eq!(&control.desired(before), &desired);
            now = now.max(before.min(now + passed));
            if let Some(deadline) = deadline {
                control.note(deadline);
                prop_assert_ne!(&control.desired(deadline), &desired);
                now = deadline;
            }
        }
    }
}
