//! How a backend that was out comes back.

use std::time::Duration;

use super::site::Site;
use crate::{
    control::{Command, Input, State},
    health::{AgentResult, AgentWord},
    outlier::{Observation, Tally},
};

use State::{Down, Up};

fn recovery(lines: &str) -> Site {
    Site::new(2, &format!("[service.recovery]\n{lines}"))
}

#[test]
fn weight_grows_after_a_failure_and_not_at_the_start() {
    let mut site = recovery("slow_start = \"20s\"");
    assert_eq!(site.weights(), [100, 100]);
    site.fall(0);
    site.wait(5000);
    site.rise(0);
    assert_eq!(site.weights(), [10, 100]);
    assert!(site.reason(0).ends_with("10 %: slow start of 20s"), "{}", site.reason(0));
    let mut weights = Vec::new();
    for _ in 0..20 {
        site.wait(1000);
        weights.push(site.weights()[0]);
    }
    assert!(weights.is_sorted(), "{weights:?}");
    assert_eq!((weights[9], weights[19]), (50, 100), "{weights:?}");
}

#[test]
fn deadlines_lead_through_every_step() {
    let mut site = recovery("slow_start = \"20s\"\ntrial = \"4s\"\ntrial_weight = \"3%\"");
    site.fall(0);
    site.rise(0);
    let back = site.now;
    let mut weights = vec![site.weights()[0]];
    while let Some(next) = site.control.next_deadline(site.now) {
        assert!(next > site.now, "time goes on");
        site.now = next;
        site.step();
        weights.push(site.weights()[0]);
    }
    assert_eq!(site.now - back, 24_000);
    assert_eq!((weights[0], weights[1]), (3, 10), "{weights:?}");
    assert_eq!(weights.len(), 22, "the trial and twenty steps: {weights:?}");
    assert_eq!(weights.last(), Some(&100));
}

#[test]
fn aggression_bends_the_curve() {
    let half = |aggression: &str| {
        let mut site = recovery(&format!(
            "slow_start = \"20s\"\nslow_start_aggression = {aggression}\nslow_start_from = \"1%\""
        ));
        site.fall(0);
        site.rise(0);
        site.wait(10_000);
        site.weights()[0]
    };
    assert_eq!([half("1"), half("2.0"), half("0.5")], [50, 70, 25]);
}

#[test]
fn one_failure_ends_a_trial() {
    let mut site = recovery("trial = \"10s\"");
    site.fall(0);
    site.rise(0);
    assert_eq!(site.weights(), [5, 100]);
    site.refuse(0);
    assert_eq!(site.states(), [Down, Up]);
    site.rise(0);
    site.wait(10_000);
    assert_eq!(site.weights(), [100, 100]);
    site.refuse(0);
    assert_eq!(site.states(), [Up, Up], "who is fully back may fail twice");
}

#[test]
fn clients_that_fail_end_a_trial_too() {
    let mut site = recovery("trial = \"10s\"");
    site.fall(0);
    site.rise(0);
    let seen =
        Observation { traffic: Tally { attempts: 3, failures: 3 }, ..Observation::default() };
    let service = Site::name(0).service;
    let all = [(service, [(Site::name(0).address, seen)].into())].into();
    site.control.take(&Input::Observed(all), site.at());
    site.step();
    assert_eq!(site.states(), [Down, Up]);
    assert_eq!(site.reason(0), "its trial failed: clients' connections did");
    site.wait(10_000);
    assert_eq!(site.weights(), [5, 100], "it is tried again");
}

#[test]
fn hold_down_is_the_least_time_out() {
    let mut site = recovery("hold_down = \"30s\"");
    site.fall(0);
    site.wait(10_000);
    site.rise(0);
    assert_eq!(site.states(), [Down, Up]);
    assert_eq!(site.reason(0), "stays out for 30s at least");
    site.wait(19_999);
    assert_eq!(site.states(), [Down, Up]);
    site.wait(1);
    assert_eq!(site.states(), [Up, Up]);
}

#[test]
fn who_goes_out_again_and_again_stays_out_for_longer() {
    let mut site = recovery("flap_limit = 3.0\nflap_reuse = 1.0\nflap_half_life = \"60s\"");
    for flap in 1..=3 {
        site.fall(0);
        site.rise(0);
        assert_eq!(site.states()[0], if flap < 3 { Up } else { Down }, "flap {flap}");
    }
    assert_eq!(site.reason(0), "flap damping: it goes out too often");
    let out = site.now;
    while site.states()[0] == Down {
        let next = site.control.next_deadline(site.now).expect("it comes back");
        site.wait(next - site.now);
    }
    // log2(3) half-lives.
    assert!((95_000..95_200).contains(&(site.now - out)), "{}", site.now - out);
}

#[test]
fn a_backend_that_is_new_to_a_running_service_starts_slowly() {
    let mut site = recovery("slow_start = \"20s\"");
    site.control.operate(Command::AddBackend(Site::name(2), 100, 0)).expect("it is new");
    site.control.reached(Site::name(2).address, crate::netlink::Via::Direct);
    site.step();
    site.pass(2);
    assert_eq!(site.weights(), [100, 100, 10]);
}

#[test]
fn the_pace_follows_the_judgement() {
    use crate::health::Pace;

    let mut site = recovery("hold_down = \"1s\"");
    let pace = |site: &Site| site.control.pace(&Site::name(0));
    assert_eq!(pace(&site), Pace::Normal);
    site.refuse(0);
    assert_eq!(pace(&site), Pace::Fast);
    site.pass(0);
    assert_eq!(pace(&site), Pace::Normal);
    site.fall(0);
    assert_eq!(pace(&site), Pace::Down);
    site.pass(0);
    assert_eq!(pace(&site), Pace::Fast);
    site.wait(Duration::from_secs(2).as_millis() as u64);
    assert_eq!(site.states()[0], Down);
}

#[test]
fn another_name_of_the_service_changes_nothing() {
    use crate::config::Config;

    let lines = "[service.recovery]\nslow_start = \"20s\"";
    let mut site = Site::new(2, lines);
    site.fall(0);
    site.rise(0);
    site.wait(10_000);
    assert_eq!(site.weights(), [50, 100]);
    let text = Site::text(2, lines).replace("\"web\"", "\"www\"");
    site.control.reload(Config::parse("lb.toml", &text).expect("valid")).expect("room");
    site.step();
    assert_eq!(site.weights(), [50, 100]);
}

#[test]
fn all_grow_at_the_same_times() {
    let mut site = recovery("slow_start = \"20s\"");
    for (number, wait) in [(0, 5300), (1, 400)] {
        site.fall(number);
        site.wait(wait);
        site.rise(number);
    }
    let mut steps = 0;
    while site.weights() != [100, 100] {
        let next = site.control.next_deadline(site.now).expect("it goes on");
        site.wait(next - site.now);
        steps += 1;
    }
    // Twenty of weight, and those that have to do with flows.
    assert!(steps < 30, "{steps}");
}

#[test]
fn an_operator_may_have_it_tried_again() {
    let mut site = recovery("hold_down = \"1h\"");
    site.fall(0);
    site.rise(0);
    assert_eq!(site.states(), [Down, Up]);
    site.control.pardon(&Site::name(0));
    site.step();
    assert_eq!(site.states(), [Up, Up]);
}

#[test]
fn what_a_backend_asks_for_by_itself_is_no_flap() {
    let lines = "[service.agent_check]\nport = 9000\n[service.recovery]\nhold_down = \"1h\"";
    let mut site = Site::new(2, lines);
    for (line, expected) in [("down", Down), ("up", Up)] {
        let backend = Site::name(0);
        let generation = site.control.generation(&backend).expect("it is asked");
        let word = Ok(AgentWord::parse(line).expect("a word"));
        site.control.take(&Input::Asked(AgentResult { backend, generation, word }), site.at());
        site.step();
        assert_eq!(site.states(), [expected, Up]);
    }
}
