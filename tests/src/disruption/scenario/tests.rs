//! What scenarios say, and what is told where they are wrong.

use std::time::Duration;

use super::{Action, Backend, Families, Scenario, ScenarioError, Size, parse};

fn read(text: &str) -> Result<Scenario, ScenarioError> {
    parse("a.txt", text, Size::Full)
}

#[track_caller]
fn refusal(text: &str) -> String {
    read(text).expect_err("a refusal").to_string()
}

/// Times in milliseconds, with what happens.
fn steps(scenario: &Scenario) -> Vec<(u128, String)> {
    scenario.steps.iter().map(|step| (step.at.as_millis(), step.action.to_string())).collect()
}

fn owned(steps: &[(u128, &str)]) -> Vec<(u128, String)> {
    steps.iter().map(|(at, action)| (*at, (*action).to_owned())).collect()
}

#[test]
fn settings_are_taken() {
    let text = "backends 3 # three\nforward gue\n\nfamilies both\ntcp-service on_down = \"keep\"\n\
                checks 50ms 1 2\nmay-break be9";
    let settings = read(text).unwrap().settings;
    assert_eq!((settings.backends, settings.forward.as_str()), (3, "gue"));
    assert_eq!(settings.families, Families::Both);
    assert_eq!(settings.tcp_service, ["on_down = \"keep\""]);
    assert_eq!(settings.checks.interval, Duration::from_millis(50));
    assert!(settings.may_break.contains(&Backend(9)));
}

#[test]
fn steps_come_in_the_order_of_their_times() {
    let scenario = read("at 2s reload\nat 1.5s crash\nafter 500ms weight be1 7").unwrap();
    let expected = [(1500, "crash"), (2000, "reload"), (2000, "weight be1 7")];
    assert_eq!(steps(&scenario), owned(&expected));
    assert_eq!(scenario.steps[0].line, 2);
}

#[test]
fn rounds_and_flaps_are_written_out() {
    let text = "at 1s every 2s x2 drain be1 ; pause 500ms ; ready be1\nafter 1s flap be2 2Hz 1s\n\
                after 1s every 1s x2 reload ; pause 1500ms";
    let scenario = read(text);
    let expected = [
        (1000, "drain be1"),
        (1500, "ready be1"),
        (3000, "drain be1"),
        (3500, "ready be1"),
        (4500, "fail be2"),
        (4750, "recover be2"),
        (5000, "fail be2"),
        (5250, "recover be2"),
        (6250, "reload"),
        (7750, "reload"),
    ];
    assert_eq!(steps(&scenario.unwrap()), owned(&expected));
}

#[test]
fn short_lines_count_in_the_short_version_only() {
    let text = "connections 5000\nshort connections 50\nshort repeats 2\nshort flap 500ms\n\
                short syns 10\nat 0s every 1s x9 reload\nafter 1s flap be1 2Hz 9s\n\
                after 1s syn-flood 1000";
    let full = read(text).unwrap();
    assert_eq!((full.settings.connections, full.steps.len()), (5000, 9 + 36 + 1));
    let short = parse("a.txt", text, Size::Short).unwrap();
    assert_eq!((short.settings.connections, short.steps.len()), (50, 2 + 2 + 1));
    assert_eq!(short.steps.last().unwrap().action, Action::SynFlood(10));
}

#[test]
fn what_was_read_can_be_written_and_read_again() {
    let text = "backends 5\nbalancers 2\nudp 7\nnew 3\nforward ipip\nsecond-chance\nfamilies 6\nlinger 2s\n\
                daemon max_flows = 4096\nudp-service udp_timeout = \"9s\"\nmay-break be2\n\
                at 1s remove be1 ; add be1 ; fail be2 ; recover be2 ; kill-server be2\n\
                at 2s reload be3 9 ; kill-daemon ; start-daemon ; crash ; restart ; upgrade ; downgrade ; detach\n\
                at 2s blink 50ms ; flush-neighbours ; kill-balancer lb2 ; syn-flood 5\n\
                expect broken 1 misrouted 2 unopened 3 strangers 4 wait 1500ms";
    let scenario = read(text).unwrap();
    let mut again = read(&scenario.to_string()).unwrap();
    for (step, before) in again.steps.iter_mut().zip(&scenario.steps) {
        step.line = before.line;
    }
    assert_eq!(again, scenario);
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, problem) in [
        ("\nbackends none", "a.txt:2: `none` is no number from 1 to 80"),
        ("back 4", "a.txt:1: `back` begins no statement"),
        ("forward tunnel", "a.txt:1: `tunnel`: it is l2, ipip, gue or nat"),
        ("at soon reload", "a.txt:1: `soon` is no time"),
        ("at 1s explode be1", "a.txt:1: `explode` is no action; actions are: drain"),
        ("at 1s drain", "a.txt:1: `drain` with 0 words after it: it is `drain BACKEND`"),
        ("at 1s drain web1", "a.txt:1: `web1` is no backend"),
        ("at 1s", "a.txt:1: what happens then?"),
        ("at 1s every 1s 3 reload", "a.txt:1: after `every TIME` comes `xNUMBER`"),
        ("at 1s flap be1 quick 1s", "a.txt:1: `quick` is no frequency"),
        ("expect peace 0", "a.txt:1: `peace` cannot be expected"),
        ("expect broken", "a.txt:1: how much `broken` is expected?"),
        ("short peace 1", "a.txt:1: `peace` begins no statement"),
        ("backends 2\nat 1s drain be3", "a.txt:2: be3 is not there at that time"),
        ("backends 2\nat 1s add be2", "a.txt:2: be2 is there already"),
        ("at 1s kill-balancer lb2", "a.txt:1: there is no lb2"),
        ("balancers 2\nat 1s kill-balancer lb2 ; kill-balancer lb1", "a.txt:2: no balancer would"),
        ("at 1s kill-daemon\nat 2s reload", "a.txt:2: lbd does not run at that time"),
        ("at 1s start-daemon", "a.txt:1: lbd runs already"),
    ] {
        let told = refusal(text);
        assert!(told.starts_with(problem), "{text:?}: {told}");
    }
}
