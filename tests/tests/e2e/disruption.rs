//! The scenarios of `tests/scenarios`, in their short versions: no connection may break.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use lb_tests::disruption::{After, Scenario, Size, Verdict, random, run, scenario};

#[track_caller]
fn run_to_the_end(scenario: &Scenario, after: After) -> Verdict {
    run(scenario, &mut (), after).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn expect_kept(name: &str) {
    let path = folder().join(format!("{name}.txt"));
    let scenario = Scenario::read(&path, Size::Short).unwrap();
    let verdict = run_to_the_end(&scenario, After::Changed);
    assert!(verdict.is_good(), "{name}:\n{verdict}");
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// A test for each file.
macro_rules! scenarios {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[test]
            fn $test() {
                expect_kept($name);
            }
        )*
        const TESTED: &[&str] = &[$($name),*];
    };
}

scenarios! {
    nothing_happens = "baseline",
    backends_are_drained = "drain",
    weights_change = "weight",
    backends_are_added = "add",
    backends_are_removed = "remove",
    the_configuration_is_reloaded = "reload",
    lbd_is_killed = "kill-daemon",
    lbd_is_upgraded_and_downgraded = "upgrade",
    checks_fail_and_pass_in_turn = "flap",
    the_program_is_replaced = "replace-program",
    backends_come_and_go = "cycles",
    a_machine_has_mishaps = "mishaps",
    a_flood_of_syns_comes = "syn-flood",
    one_of_two_balancers_is_killed = "ecmp-kill",
    one_of_two_balancers_is_killed_after_a_change = "ecmp-after-add",
    many_flows_are_remembered = "crowded-cache",
}

#[test]
fn every_scenario_is_tested() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<_> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let tested: BTreeSet<_> = TESTED.iter().map(|name| (*name).into()).collect();
    assert_eq!(names, tested);
    for name in names {
        let path = folder().join(format!("{name}.txt"));
        for size in [Size::Full, Size::Short] {
            Scenario::read(&path, size).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

/// If connections break, it is noticed: those of a server that dies do.
#[test]
fn connections_that_break_are_counted() {
    let text = "connections 60\nudp 10\nat 500ms kill-server be1";
    let scenario = scenario::parse("here", text, Size::Full).unwrap();
    let verdict = run_to_the_end(&scenario, After::Changed);
    assert!(verdict.is_good(), "{verdict}");
    assert!((5..=30).contains(&verdict.excused), "{verdict}");
}

/// A few seconds of what `cargo xtask chaos` does for as long as one likes.
#[test]
fn a_short_time_of_chaos_breaks_nothing_and_leaves_nothing() {
    let mut scenario = random::scenario(1, Duration::from_secs(12));
    scenario.settings.connections = 300;
    scenario.settings.udp = 30;
    let verdict = run_to_the_end(&scenario, After::Restored);
    assert!(verdict.is_good(), "{scenario}\n{verdict}");
}
