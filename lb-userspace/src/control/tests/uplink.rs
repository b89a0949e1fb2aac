//! When it is this load balancer that is cut off.

use super::site::Site;
use crate::{
    control::{Input, State},
    event::EventKind,
};

use State::{Down, Up};

#[test]
fn nobody_goes_down_while_nobody_is_heard() {
    let mut site = Site::new(3, "");
    for _ in 0..5 {
        (0..3).for_each(|number| site.silence(number));
    }
    assert_eq!(site.states(), [Up, Up, Up]);
    assert_eq!(site.told(EventKind::Uplink), ["silent"]);
    // One is heard: what the others failed before counts for nothing.
    site.pass(0);
    assert_eq!(site.told(EventKind::Uplink), ["silent", "heard"]);
    (0..2).for_each(|_| site.silence(1));
    assert_eq!(site.states(), [Up, Up, Up]);
    site.silence(1);
    assert_eq!(site.states(), [Up, Down, Up]);
}

#[test]
fn one_that_is_silent_among_others_goes_down() {
    let mut site = Site::new(3, "");
    (0..3).for_each(|_| site.silence(1));
    assert_eq!(site.states(), [Up, Down, Up]);
    // Whoever refuses is heard, though it is not well.
    (0..3).for_each(|_| site.refuse(0));
    assert_eq!(site.states(), [Down, Down, Up]);
    // The last one may have failed alone.
    (0..3).for_each(|_| site.silence(2));
    assert_eq!(site.states(), [Down, Down, Down]);
}

#[test]
fn who_went_down_before_it_was_clear_comes_back() {
    let mut site = Site::new(3, "");
    (0..3).for_each(|_| site.silence(0));
    assert_eq!(site.states(), [Down, Up, Up], "the others are not checked as often");
    site.silence(1);
    assert_eq!(site.states(), [Down, Up, Up]);
    // Nobody has been heard since the first one failed.
    (0..3).for_each(|_| site.silence(2));
    assert_eq!(site.states(), [Up, Up, Up]);
    // One that was silent among others that were heard stays down.
    site.pass(1);
    (0..3).for_each(|_| site.silence(0));
    site.pass(2);
    (1..3).for_each(|number| (0..3).for_each(|_| site.silence(number)));
    assert_eq!(site.states(), [Down, Up, Up]);
}

#[test]
fn without_a_link_failures_count_for_nothing() {
    let mut site = Site::new(1, "");
    site.control.take(&Input::Unplugged(true), site.at());
    (0..5).for_each(|_| site.silence(0));
    assert_eq!(site.states(), [Up]);
    site.control.take(&Input::Unplugged(false), site.at());
    (0..2).for_each(|_| site.silence(0));
    assert_eq!(site.states(), [Up]);
    site.silence(0);
    assert_eq!(site.states(), [Down]);
}

#[test]
fn the_time_of_day_decides_nothing() {
    let mut site = Site::new(2, "[service.recovery]\nslow_start = \"20s\"\nhold_down = \"5s\"");
    site.fall(0);
    for jump in [0, 3_600_000, 7_200_000] {
        let moment = crate::control::Moment { wall: jump, ..site.at() };
        let before = (site.states(), site.weights());
        let step = site.control.step(moment);
        assert!(step.events.is_empty(), "{:?}", step.events);
        assert_eq!((site.states(), site.weights()), before);
    }
}
