//! When many backends are out.

use super::site::Site;
use crate::{control::State, event::EventKind};

use State::{Down, Panic, Standby, Up};

#[test]
fn below_the_threshold_all_serve_and_above_it_only_those_that_are_well() {
    let mut site = Site::new(4, "[service.quorum]\npanic_threshold = \"50%\"");
    (0..2).for_each(|number| site.fall(number));
    assert_eq!(site.states(), [Down, Down, Up, Up], "half of them is not below half");
    site.fall(2);
    assert_eq!(site.states(), [Panic, Panic, Panic, Up]);
    assert_eq!(site.weights(), [100; 4]);
    let expected = "only 1 of 4 are well, so all serve; itself: 3 failed checks, last: connect was \
                    refused";
    assert_eq!(site.reason(0), expected);
    assert_eq!(site.told(EventKind::Panic), ["on"]);
    site.rise(0);
    assert_eq!(site.states(), [Up, Down, Down, Up]);
    assert_eq!(site.told(EventKind::Panic), ["on", "off"]);
}

#[test]
fn nobody_serves_who_is_not_well_unless_it_is_asked_for() {
    for (lines, expected) in [
        ("", [Down, Down]),
        ("[service.quorum]\nlast_resort = \"all\"", [Panic, Panic]),
        ("[service.quorum]\npanic_threshold = \"10%\"", [Panic, Panic]),
    ] {
        let mut site = Site::new(2, lines);
        site.fall(0);
        assert_eq!(site.states(), [Down, Up], "{lines}");
        site.fall(1);
        assert_eq!(site.states(), expected, "{lines}");
    }
}

#[test]
fn what_an_operator_took_out_is_not_brought_back_by_panic() {
    use crate::control::{Command, Mode};

    let mut site = Site::new(3, "[service.quorum]\nlast_resort = \"all\"");
    site.control.operate(Command::SetMode(Site::name(2), Mode::Drain)).expect("it is there");
    (0..2).for_each(|number| site.fall(number));
    assert_eq!(site.states(), [Panic, Panic, State::Drain]);
    assert_eq!(site.weights(), [100, 100, 0]);
}

#[test]
fn a_quorum_hands_over_to_the_backup_pool_and_takes_back_with_hysteresis() {
    let pool = "[[service.backend]]\naddress = \"10.0.1.21\"\npriority = 1";
    let mut site = Site::new(4, &format!("[service.quorum]\nleast = 2\nhysteresis = 1\n{pool}"));
    let backup = 10;
    site.pass(backup);
    assert_eq!(site.states(), [Up, Up, Up, Up, Standby]);
    (0..2).for_each(|number| site.fall(number));
    assert_eq!(site.states(), [Down, Down, Up, Up, Standby], "two are enough");
    site.fall(2);
    assert_eq!(site.states(), [Down, Down, Down, Standby, Up]);
    assert_eq!(site.reason(3), "standby: priority 1 serves, too few of priority 0 are");
    assert_eq!(site.told(EventKind::Priority), ["1"]);
    site.rise(0);
    assert_eq!(site.states(), [Standby, Down, Down, Standby, Up], "two are not enough again");
    site.rise(1);
    assert_eq!(site.states(), [Up, Up, Down, Up, Standby]);
    assert_eq!(site.told(EventKind::Priority), ["1", "0"]);
}

#[test]
fn a_service_says_when_it_loses_its_quorum() {
    let mut site = Site::new(3, "[service.quorum]\nleast = 2");
    site.fall(0);
    assert_eq!(site.told(EventKind::ServiceState), [""; 0]);
    site.fall(1);
    assert_eq!(site.told(EventKind::ServiceState), ["down"]);
    assert_eq!(site.weights(), [0, 0, 100], "who is well serves on");
    site.rise(1);
    assert_eq!(site.told(EventKind::ServiceState), ["down", "up"]);
}

#[test]
fn a_service_that_is_new_does_not_panic_before_all_are_judged() {
    let mut site = Site::unchecked(3, "[service.quorum]\npanic_threshold = \"50%\"");
    site.refuse(0);
    assert_eq!(site.states(), [Down, State::Starting, State::Starting]);
    site.pass(1);
    site.pass(2);
    assert_eq!(site.states(), [Down, Up, Up]);
    assert_eq!(site.told(EventKind::Panic), [""; 0]);
}
